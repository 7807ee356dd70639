"""What VixDiskLib's error codes mean for a backup: which error, whether a retry helps, what to do about it.

Knows numbers and words only. Codes are the low 16 bits of a VixError; the upper ones may carry detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmkeep.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    Recovery,
    StaleError,
    UnreachableError,
    VddkError,
    VmKeepError,
)

UNKNOWN: Final = 1
NOT_SUPPORTED: Final = 6
METADATA_KEY_NOT_FOUND: Final = 16052


@dataclass(frozen=True, slots=True)
class Meaning:
    """One code, or one family of codes."""

    text: str
    recovery: Recovery = Recovery.STOP
    remedy: str = ""
    error: type[VmKeepError] = VddkError


_RETRY = Recovery.RETRY
_NETWORK = Meaning(
    "network", _RETRY, "check the name, the route and TCP ports 443 and 902 of every host", UnreachableError
)
_HOST = Meaning("the host is not connected", _RETRY, "", UnreachableError)
_MAINTENANCE = Meaning("the host is entering maintenance mode", _RETRY, "the VM will be served by another host")
_SNAPSHOT = Meaning("snapshot error", Recovery.RESTART)
_BUG = Meaning("a call the library does not allow", remedy="please report this with the log")

_MEANINGS: Final[dict[int, Meaning]] = {
    UNKNOWN: Meaning("unknown error", _RETRY),
    2: Meaning("out of memory", _RETRY, "the host's NFC memory may be used up: copy fewer disks of it at once"),
    3: _BUG,
    4: Meaning("file not found", remedy="was it moved, or its snapshot removed?", error=NotFoundError),
    5: Meaning("busy", _RETRY),
    NOT_SUPPORTED: Meaning("not supported"),
    7: Meaning("file error"),
    8: Meaning("disk full", remedy="free space on the datastore"),
    9: Meaning("wrong file type"),
    11: Meaning("the file is read-only"),
    12: Meaning("exists already"),
    13: Meaning(
        "no access rights",
        _RETRY,
        "needs the privileges VirtualMachine.Provisioning.DiskRandomRead and .GetVmFiles (restore: .DiskRandomAccess) "
        "and the snapshot's id",
    ),
    15: Meaning("locked by another process", _RETRY),
    23: Meaning("exists already"),
    26: _HOST,
    30: Meaning("a licence key is needed"),
    32: Meaning("the licence does not allow it"),
    34: _HOST,
    35: Meaning("authentication failed", remedy="check user name and password", error=AuthenticationError),
    36: Meaning("lost the connection to the host", _RETRY, error=UnreachableError),
    1000: _BUG,
    1001: _BUG,
    1002: Meaning("too many handles", _RETRY, "copy fewer disks at once"),
    3014: Meaning("the user lacks rights on the host", error=PermissionDeniedError),
    4000: Meaning("VM not found", error=NotFoundError),
    13003: Meaning("snapshot not found", Recovery.RESTART, error=StaleError),
    13006: Meaning("no right to use the snapshot", error=PermissionDeniedError),
    14008: _NETWORK,
    14009: Meaning(
        "connection refused", _RETRY, "is TCP port 902 of the ESXi host open to this proxy?", UnreachableError
    ),
    14010: _NETWORK,
    14011: Meaning("TCP connection lost", _RETRY, error=UnreachableError),
    14014: _MAINTENANCE,
    14015: _MAINTENANCE,
    16003: Meaning("a link of the disk's chain is missing"),
    16006: Meaning("the disk needs repair"),
    16007: Meaning(
        "sectors beyond the end of the disk", Recovery.RESTART, "was the disk resized since it was planned?"
    ),
    16008: Meaning("content-ID mismatch in the disk's chain"),
    16027: Meaning("too many open files", _RETRY, "copy fewer disks at once"),
    16030: Meaning("invalid disk chain"),
    METADATA_KEY_NOT_FOUND: Meaning("no such metadata key"),
    16053: Meaning("VDDK could not start", remedy="check the VDDK folder and its log lines above"),
    18000: _NETWORK,
    18001: Meaning("not possible on a remote host"),
    18002: Meaning("bad host name", error=NotFoundError),
    26000: _BUG,
}


def meaning(code: int) -> Meaning:
    """Return what ``code`` means; unknown ones stop, so that nothing is repeated for hours."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    if 13000 <= code <= 13024:
        return _SNAPSHOT
    if 30001 <= code <= 30202:
        return _NETWORK
    return Meaning(f"error {code}")


def make_error(error: int, text: str, *, doing: str, if_unknown: str = "") -> VmKeepError:
    """Return the exception for a failed call.

    ``error`` is the whole VixError, ``text`` the library's own words for it, ``doing`` what was tried on which disk
    of which VM, and ``if_unknown`` what lies behind the catch-all code 1 in such a call.
    """
    code = error & 0xFFFF
    known = meaning(code)
    remedy = if_unknown if code == UNKNOWN else known.remedy
    words = text or known.text
    message = f"{doing}: {words} (VixError {code})" + (f"; {remedy}" if remedy else "")
    if issubclass(known.error, VddkError):
        return VddkError(message, code=code, recovery=known.recovery)
    return known.error(message)
