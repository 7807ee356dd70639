"""Lists VixDiskLib's functions: result, arguments, the version that introduced each, and whether it is required.

This module looks nothing up. :class:`vmkeep.vddk.library.Library` looks a function up on first use, so that a library
with only the oldest functions works. Without a required function no disk can be copied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.vddk.structures import CompletionFunction, ConnectParams, Info, LogFunction

PREFIX: Final = "VixDiskLib_"

_ERROR = c_uint64
"""The type VixError has 64 bits. ctypes' default ``int`` would drop the upper half."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function of the library."""

    name: str
    result: Any
    arguments: Sequence[Any]
    since: str
    required: bool = False


_PARAMS = POINTER(ConnectParams)
_OUT = POINTER(c_void_p)
_COUNT = POINTER(c_uint32)

_TABLE = (
    Symbol(
        "InitEx",
        _ERROR,
        (c_uint32, c_uint32, LogFunction, LogFunction, LogFunction, c_char_p, c_char_p),
        "1.1",
        required=True,
    ),
    Symbol("Exit", None, (), "1.0", required=True),
    Symbol("ListTransportModes", c_char_p, (), "1.1"),
    Symbol("AllocateConnectParams", c_void_p, (), "6.7"),
    Symbol("FreeConnectParams", None, (_PARAMS,), "6.0"),
    Symbol("PrepareForAccess", _ERROR, (_PARAMS, c_char_p), "5.0"),
    Symbol("EndAccess", _ERROR, (_PARAMS, c_char_p), "5.0"),
    Symbol("Cleanup", _ERROR, (_PARAMS, _COUNT, _COUNT), "1.1"),
    Symbol("ConnectEx", _ERROR, (_PARAMS, c_bool, c_char_p, c_char_p, _OUT), "1.1", required=True),
    Symbol("Disconnect", _ERROR, (c_void_p,), "1.0", required=True),
    Symbol("Open", _ERROR, (c_void_p, c_char_p, c_uint32, _OUT), "1.0", required=True),
    Symbol("Close", _ERROR, (c_void_p,), "1.0", required=True),
    Symbol("GetInfo", _ERROR, (c_void_p, POINTER(POINTER(Info))), "1.0", required=True),
    Symbol("FreeInfo", None, (POINTER(Info),), "1.0", required=True),
    Symbol("GetTransportMode", c_char_p, (c_void_p,), "1.1"),
    Symbol("Read", _ERROR, (c_void_p, c_uint64, c_uint64, c_void_p), "1.0", required=True),
    Symbol("Write", _ERROR, (c_void_p, c_uint64, c_uint64, c_void_p), "1.0", required=True),
    Symbol("ReadAsync", _ERROR, (c_void_p, c_uint64, c_uint64, c_void_p, CompletionFunction, c_void_p), "6.0"),
    Symbol("WriteAsync", _ERROR, (c_void_p, c_uint64, c_uint64, c_void_p, CompletionFunction, c_void_p), "6.0"),
    Symbol("Flush", _ERROR, (c_void_p,), "6.0", required=True),
    Symbol("Wait", _ERROR, (c_void_p,), "6.5"),
    Symbol("QueryAllocatedBlocks", _ERROR, (c_void_p, c_uint64, c_uint64, c_uint64, _OUT), "6.7"),
    Symbol("FreeBlockList", _ERROR, (c_void_p,), "6.7"),
    Symbol("ReadMetadata", _ERROR, (c_void_p, c_char_p, c_void_p, c_size_t, POINTER(c_size_t)), "1.0"),
    Symbol("WriteMetadata", _ERROR, (c_void_p, c_char_p, c_char_p), "1.0"),
    Symbol("GetMetadataKeys", _ERROR, (c_void_p, c_void_p, c_size_t, POINTER(c_size_t)), "1.0"),
    Symbol("GetErrorText", c_void_p, (_ERROR, c_char_p), "1.0"),
    Symbol("FreeErrorText", None, (c_void_p,), "1.0"),
)

SYMBOLS: Final = {symbol.name: symbol for symbol in _TABLE}


def bind(dll: ctypes.CDLL, symbol: Symbol) -> Any:
    """Return a function with its types set; ``None``: the library lacks it."""
    function = getattr(dll, PREFIX + symbol.name, None)
    if function is not None:
        function.restype = symbol.result
        function.argtypes = list(symbol.arguments)
    return function
