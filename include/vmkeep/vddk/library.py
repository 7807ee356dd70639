"""Loads libvixDiskLib, looks its functions up on first use, times every call, and words its errors.

This module knows no connection and no disk. The library is loaded once in a process and never unloaded, because its
threads and our callbacks may outlive any object here.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

from vmkeep.errors import UsageError
from vmkeep.vddk.codes import make_error
from vmkeep.vddk.folder import LibraryFile
from vmkeep.vddk.symbols import SYMBOLS, bind
from vmkeep.vddk.timings import Timings


class Library:
    """VixDiskLib's functions by name, without the prefix."""

    def __init__(self, file: LibraryFile) -> None:
        self.file = file
        self.timings = Timings()
        self.lost = False
        """A call never returned, so that no further call is safe and the process has to end."""
        self._dll = _load(file)
        self._functions: dict[str, Any] = {}
        missing = [symbol.name for symbol in SYMBOLS.values() if symbol.required and not self.has(symbol.name)]
        if missing:
            raise UsageError(f"{file.path} is not a usable VixDiskLib: it lacks {', '.join(missing)}")

    def has(self, name: str) -> bool:
        """Return whether this version has a function."""
        return self._function(name) is not None

    def call(self, name: str, *arguments: Any, size: int = 0) -> Any:
        """Call and time a function. Return its result unchanged.

        :param size: bytes that the call moves, for the table of times.
        """
        function = self._function(name)
        if function is None:
            raise UsageError(f"VDDK {self.file.version} has no {name}; it came with {SYMBOLS[name].since}")
        started = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self.timings.note(name, time.monotonic() - started, size)

    def check(self, name: str, *arguments: Any, doing: str, if_unknown: str = "", size: int = 0) -> None:
        """Call a function that returns a VixError, and raise our error for it unless it is 0."""
        error = self.call(name, *arguments, size=size)
        if error:
            raise make_error(error, self.error_text(error), doing=doing, if_unknown=if_unknown)

    def error_text(self, error: int) -> str:
        """Return the library's own words for an error; empty: it has none."""
        if not self.has("GetErrorText"):
            return ""
        address = self.call("GetErrorText", error, None)
        if not address:
            return ""
        text = ctypes.string_at(address).decode("utf-8", "replace").strip()
        if self.has("FreeErrorText"):
            self.call("FreeErrorText", address)
        return text

    def _function(self, name: str) -> Any:
        if name not in self._functions:
            self._functions[name] = bind(self._dll, SYMBOLS[name])
        return self._functions[name]


def _load(file: LibraryFile) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(file.path))
    except OSError as error:
        raise UsageError(
            f"cannot load {file.path}: {error}; if a library is missing, LD_LIBRARY_PATH must begin with "
            f"{file.library_path}; if this system's C library is too old, use an older VDDK or a newer system; else "
            "unpack VDDK again"
        ) from error
