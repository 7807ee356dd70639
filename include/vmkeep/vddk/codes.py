"""Gives each of VixDiskLib's error codes a meaning: our error, whether a retry helps, and advice.

A code is the low 16 bits of a VixError. The upper bits may carry detail.
"""

from __future__ import annotations

from typing import Final

from vmkeep.errors import (
    AuthenticationError,
    DiskMovedError,
    NotFoundError,
    PermissionDeniedError,
    Recovery,
    StaleError,
    TransientError,
    UnreachableError,
    VddkError,
    VmKeepError,
)
from vmkeep.lateclass import dataclass

UNKNOWN: Final = 1
NOT_SUPPORTED: Final = 6
METADATA_KEY_NOT_FOUND: Final = 16052


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of a code, or of a range of codes."""

    text: str
    recovery: Recovery = Recovery.STOP
    remedy: str = ""
    error: type[VmKeepError] = VddkError


_RETRY = Recovery.RETRY
_NETWORK = Meaning(
    "network", _RETRY, "check the name, the route and TCP ports 443 and 902 of every host", UnreachableError
)
_HOST = Meaning("the host is not connected", _RETRY, "look at the host's state in vCenter", UnreachableError)
_MAINTENANCE = Meaning("the host is entering maintenance mode", _RETRY, "the VM will be served by another host")
_SNAPSHOT = Meaning("snapshot error", Recovery.RESTART, "the next run takes a new snapshot")
_CHAIN = "the disk's chain of snapshots is broken: let VMware's support look at it before anything is consolidated"
_ENCRYPTED = Meaning(
    "the disk is encrypted, and its key cannot be had",
    remedy="the user needs Cryptographer.Access, the key provider has to answer vCenter and the host, and the "
    "transport has to be nbdssl or hotadd",
)
_FEWER = "copy fewer disks at once"
_BUG = Meaning("a call the library does not allow", remedy="please report this with the log")

_MEANINGS: Final[dict[int, Meaning]] = {
    UNKNOWN: Meaning("unknown error", _RETRY, "the library's log says more"),
    2: Meaning("out of memory", _RETRY, "the host's NFC memory may be used up: copy fewer disks of it at once"),
    3: _BUG,
    4: Meaning("file not found", remedy="was it moved, or its snapshot removed?", error=DiskMovedError),
    5: Meaning("busy", _RETRY, "another operation on the VM has to end first"),
    NOT_SUPPORTED: Meaning("not supported", remedy="try another transport mode; the library's log says more"),
    7: Meaning("file error", remedy="look at the datastore, and at the host's log"),
    8: Meaning("disk full", remedy="free space on the datastore"),
    9: Meaning("wrong file type", remedy="is this path a virtual disk?"),
    11: Meaning("the file is read-only", remedy="a disk in a snapshot is not written to: the VM must have none"),
    12: Meaning("exists already", remedy="remove it, or choose another name"),
    13: Meaning(
        "no access rights",
        _RETRY,
        "needs the privileges VirtualMachine.Provisioning.DiskRandomRead and .GetVmFiles (restore: .DiskRandomAccess) "
        "and the snapshot's id; by hotadd, also a free place on a SCSI controller of the proxy",
    ),
    15: Meaning("locked by another process", _RETRY, "another backup or the running VM holds the disk"),
    23: Meaning("exists already", remedy="remove it, or choose another name"),
    26: _HOST,
    30: Meaning("a decryption key is needed", remedy=_ENCRYPTED.remedy),
    32: Meaning("the licence does not allow it", remedy="the free ESXi has no backup interface: a licence is needed"),
    34: _HOST,
    35: Meaning(
        "authentication failed",
        remedy=f"check user name and password; where the VM is encrypted, {_ENCRYPTED.remedy}",
        error=AuthenticationError,
    ),
    36: Meaning("lost the connection to the host", _RETRY, "look at the network and the host", UnreachableError),
    1000: _BUG,
    1001: _BUG,
    1002: Meaning("too many handles", _RETRY, _FEWER),
    3014: Meaning(
        "the user lacks rights on the host",
        remedy="see the role in docs/operations/vsphere.md",
        error=PermissionDeniedError,
    ),
    3046: Meaning(
        "too many logons at once", _RETRY, f"{_FEWER}, or let vCenter end idle sessions", error=TransientError
    ),
    4000: Meaning("VM not found", remedy="was it deleted, or registered anew?", error=NotFoundError),
    13003: Meaning("snapshot not found", Recovery.RESTART, "the next run takes a new one", StaleError),
    13006: Meaning(
        "no right to use the snapshot", remedy="see the role in docs/operations/vsphere.md", error=PermissionDeniedError
    ),
    14009: Meaning(
        "connection refused", _RETRY, "is TCP port 902 of the ESXi host open to this proxy?", UnreachableError
    ),
    14011: Meaning("TCP connection lost", _RETRY, "look at the network and the host", UnreachableError),
    14014: _MAINTENANCE,
    14015: _MAINTENANCE,
    16000: Meaning("the disk is damaged", remedy="look at its files on the datastore: one may be cut off"),
    16002: Meaning("input/output error", _RETRY, "look at the datastore, and at the host's log"),
    16003: Meaning("a link of the disk's chain is missing", remedy=_CHAIN),
    16006: Meaning("the disk needs repair", remedy="vmkfstools -x check on the host says what is wrong"),
    16007: Meaning(
        "sectors beyond the end of the disk", Recovery.RESTART, "was the disk resized since it was planned?"
    ),
    16008: Meaning("content-ID mismatch in the disk's chain", remedy=_CHAIN),
    16027: Meaning("too many open files", _RETRY, _FEWER),
    16030: Meaning("invalid disk chain", remedy=_CHAIN),
    METADATA_KEY_NOT_FOUND: Meaning("no such metadata key", remedy="none is needed: this disk has no such entry"),
    16053: Meaning("VDDK could not start", remedy="check the VDDK folder and its log lines above"),
    16064: Meaning(
        "the host's licence does not allow it",
        remedy="a free ESXi host has no licence for backups; a user without Global.DisableMethods and "
        "Global.EnableMethods on the vCenter's root is told so, too",
    ),
    18000: _NETWORK,
    18001: Meaning("not possible on a remote host", remedy="please report this with the log"),
    18002: Meaning("bad host name", remedy="check that this proxy resolves the host's name", error=NotFoundError),
    26000: _BUG,
}


_FAMILIES: Final = (
    (range(13000, 13025), _SNAPSHOT),
    (range(14000, 14014), _NETWORK),
    (range(16014, 16018), _ENCRYPTED),
    (range(17000, 17013), _ENCRYPTED),
    (range(30001, 30203), _NETWORK),
)
"""Ranges whose codes mean the same to a backup, unless a code has its own row."""


def meaning(code: int) -> Meaning:
    """Return the meaning of a code. An unknown code is no reason to retry, because that could go on for hours."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    unknown = Meaning(f"error {code}", remedy="the library's log says more; please report this with it")
    return next((family for codes, family in _FAMILIES if code in codes), unknown)


def make_error(error: int, text: str, *, doing: str, if_unknown: str = "") -> VmKeepError:
    """Return the exception for a failed call.

    :param error: the whole VixError.
    :param text: the library's own words for it.
    :param doing: the action, with its disk and VM.
    :param if_unknown: a likely cause if the code is the catch-all 1.
    """
    code = error & 0xFFFF
    known = meaning(code)
    remedy = if_unknown if code == UNKNOWN else known.remedy
    words = text or known.text
    message = f"{doing}: {words} (VixError {code})" + (f"; {remedy}" if remedy else "")
    if issubclass(known.error, VddkError):
        return VddkError(message, code=code, recovery=known.recovery)
    return known.error(message)
