"""Declares VixDiskLib's structures and callback types, as gcc lays them out on x86-64 Linux (LP64, natural alignment).

Sizes and offsets are those of VDDK 6.7 and later; ``tests/unit/vddk`` compares every one with the table in
``docs/architecture/vddk.md``. This module does not know the meaning of the values.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_int, c_long, c_uint32, c_uint64, c_void_p
from typing import Final

SECTOR: Final = 512
"""Bytes of a sector. VixDiskLib counts in these, even if the disk's own sectors are larger."""

CREDENTIALS_UID: Final = 1
SPEC_VMX: Final = 0
"""Value of ``specType`` for a disk of a VM. A structure that the library allocates says "unknown"."""
OPEN_READ_ONLY: Final = 4
ASYNC_ACCEPTED: Final = 25000
"""The code of success of ReadAsync and WriteAsync. For them 0 is no success."""

LogFunction = ctypes.CFUNCTYPE(None, c_char_p, c_void_p)
"""``void (const char *format, va_list)``. The list arrives as a pointer, which vsnprintf takes unchanged."""

CompletionFunction = ctypes.CFUNCTYPE(None, c_void_p, c_uint64)
"""``void (void *data, VixError)``."""


class UidCredentials(ctypes.Structure):
    """A user name and a password."""

    _fields_ = [("userName", c_char_p), ("password", c_char_p)]


class SessionCredentials(ctypes.Structure):
    """A session's cookie."""

    _fields_ = [("cookie", c_char_p), ("userName", c_char_p), ("key", c_char_p)]


class Credentials(ctypes.Union):
    """24 bytes. ``credType`` tells which member is set."""

    _fields_ = [("uid", UidCredentials), ("sessionId", SessionCredentials), ("ticketId", c_void_p)]


class ConnectParams(ctypes.Structure):
    """128 bytes since VDDK 6.7. The library would read past the end of a shorter one."""

    _fields_ = [
        ("vmxSpec", c_char_p),
        ("serverName", c_char_p),
        ("thumbPrint", c_char_p),
        ("privateUse", c_long),
        ("credType", c_int),
        ("creds", Credentials),
        ("port", c_uint32),
        ("nfcHostPort", c_uint32),
        ("vimApiVer", c_char_p),
        ("reserved", c_char * 8),
        ("state", c_void_p),
        ("spec", c_void_p * 3),
        ("specType", c_int),
    ]


class Geometry(ctypes.Structure):
    """12 bytes."""

    _fields_ = [("cylinders", c_uint32), ("heads", c_uint32), ("sectors", c_uint32)]


class Info(ctypes.Structure):
    """56 bytes, which every version fills. The two sector sizes that VDDK 7.0 appended are not read."""

    _fields_ = [
        ("biosGeo", Geometry),
        ("physGeo", Geometry),
        ("capacity", c_uint64),
        ("adapterType", c_int),
        ("numLinks", c_int),
        ("parentFileNameHint", c_char_p),
        ("uuid", c_char_p),
    ]
