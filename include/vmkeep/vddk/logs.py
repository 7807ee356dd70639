"""Turns VixDiskLib's log lines, printf formats with a va_list, into records of Python's logging.

The callbacks live as long as the module, because the library may call them at any time, from any thread.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vmkeep.blackbox import BlackBox
from vmkeep.vddk.folder import LIBRARY_LOG
from vmkeep.vddk.structures import LogFunction

_log = logging.getLogger(LIBRARY_LOG)
_NOISE: Final = ("Get CEIP status failed", "VDDK_PhoneHome:")
"""Parts of harmless warnings about VMware's customer programme."""

_vsnprintf = ctypes.CDLL(None).vsnprintf
_vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
_vsnprintf.restype = ctypes.c_int


_subdued = threading.Event()


@contextmanager
def subdued() -> Iterator[None]:
    """Log the library's warnings at debug level in the body, because the caller expects an error and handles it."""
    _subdued.set()
    try:
        yield
    finally:
        _subdued.clear()


_black_box: BlackBox | None = None


def keep_lines(descriptor: int) -> None:
    """Write each line to a black box too, whatever its level, because it may explain a failure."""
    global _black_box
    os.set_inheritable(descriptor, False)
    _black_box = BlackBox(descriptor)


def _emit(level: int, template: bytes | None, arguments: int | None) -> None:
    if template is None:
        return
    buffer = ctypes.create_string_buffer(4096)
    _vsnprintf(buffer, len(buffer), template, arguments)
    text = buffer.value.decode("utf-8", "replace").rstrip()
    if _subdued.is_set() or any(noise in text for noise in _NOISE):
        level = logging.DEBUG
    if text:
        if _black_box is not None:
            _black_box.write(text)
        _log.log(level, "%s", text)


LOG: Final = LogFunction(lambda template, arguments: _emit(logging.DEBUG, template, arguments))
WARN: Final = LogFunction(lambda template, arguments: _emit(logging.WARNING, template, arguments))
PANIC: Final = LogFunction(lambda template, arguments: _emit(logging.CRITICAL, template, arguments))
