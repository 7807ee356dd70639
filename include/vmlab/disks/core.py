"""The C disk core through ctypes: one function table, error codes turned into ``DiskError``.

The only module that knows the core's signatures (``native/disk.h``). Calls release
the interpreter's lock while they run.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from vmlab.native import DISK_CORE, build

SECTOR = 512

OPEN_WRITABLE = 1
OPEN_SINGLE_LINK = 2
OPEN_IGNORE_CONTENT_ID = 4

_TEXTS = {
    1: "unknown error",
    2: "out of memory",
    3: "invalid argument",
    4: "file not found",
    6: "not supported for this disk",
    7: "file error",
    8: "no space left on the datastore",
    9: "not a virtual disk",
    11: "disk is read-only",
    12: "file exists already",
    13: "no access rights",
    15: "disk is open for writing elsewhere",
    21: "too big for this format",
    16000: "disk is damaged",
    16002: "input/output error",
    16003: "a parent of the disk is missing",
    16007: "range beyond the end of the disk",
    16008: "content ID of the parent does not match: it was written to after the child was made",
    16027: "too many open files",
    16030: "chain is invalid",
    16052: "no such metadata key",
}

_POINTER = ctypes.c_void_p
_U64 = ctypes.c_uint64
_TEXT = ctypes.c_char_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "vl_chain_open": (ctypes.c_int, [_TEXT, ctypes.c_uint, ctypes.POINTER(_POINTER)]),
    "vl_chain_close": (None, [_POINTER]),
    "vl_chain_capacity": (_U64, [_POINTER]),
    "vl_chain_links": (ctypes.c_int, [_POINTER]),
    "vl_chain_read": (ctypes.c_int, [_POINTER, _U64, _U64, _POINTER]),
    "vl_chain_write": (ctypes.c_int, [_POINTER, _U64, _U64, _POINTER]),
    "vl_chain_flush": (ctypes.c_int, [_POINTER]),
    "vl_chain_allocated": (ctypes.c_int, [_POINTER, _U64, _U64, _U64, _POINTER]),
    "vl_create_flat": (ctypes.c_int, [_TEXT, _TEXT, _TEXT, _TEXT, _U64, ctypes.c_uint, ctypes.c_bool]),
    "vl_create_raw_map": (ctypes.c_int, [_TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _U64]),
    "vl_create_child": (ctypes.c_int, [_TEXT, _TEXT]),
    "vl_extend_flat": (ctypes.c_int, [_TEXT, _U64]),
    "vl_remove": (ctypes.c_int, [_TEXT]),
    "vl_merge": (ctypes.c_int, [_TEXT, _TEXT]),
    "vl_set_entry": (ctypes.c_int, [_TEXT, _TEXT, _TEXT, _TEXT, ctypes.c_int]),
}


class DiskError(Exception):
    """A disk call failed; ``code`` is VixDiskLib's number for it."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: {_TEXTS.get(code, 'error')} ({code})")
        self.code = code


@cache
def library() -> ctypes.CDLL:
    """Load the core, compiling it first where needed, and declare every function."""
    loaded = ctypes.CDLL(str(build(DISK_CORE)))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype = result
        function.argtypes = arguments
    return loaded


def call(name: str, what: str, *arguments: object) -> None:
    """Call a core function that gives a code.

    :raises DiskError: the code is not 0.
    """
    function: Callable[..., int] = getattr(library(), name)
    code = function(*arguments)
    if code:
        raise DiskError(code, what)
