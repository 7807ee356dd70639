"""The job of one disk's copy, its progress while it runs, and its result.

These values cross process borders (Airflow's XCom, a child's stdin and stdout), so they hold plain data
and no secret. Large things, such as lists of extents, live in the repository under the run's name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.point import BackupKind
from vmkeep.model.transport import DEFAULT_MODES, TransportMode
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskJob:
    """Copy one disk of one VM snapshot into the repository."""

    run: str
    """Run key: what all retries of one backup share."""
    begun: str = ""
    """The try of the run that this is part of: it began before anything of this was looked up."""
    vm: VmRef
    vcenter: str | None = None
    """UUID of the server that gave out these ids."""
    snapshot: str | None
    """Managed object id of the snapshot; ``None`` for a powered-off VM copied as it is."""
    disk: Disk
    """The disk in the snapshot: ``disk.file_name`` is the file to open."""
    kind: BackupKind
    reason: str
    change_id: ChangeId | None
    """This snapshot's cursor, kept for the next incremental."""
    extents: str | None
    """Run blob that holds what to read; ``None``: ask the reader which extents are allocated."""
    parent_root: str | None
    """Map root of the parent point's disk, the base of everything that is not read."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    piece_size: int = 1 << 20
    depth: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class VmAccess:
    """A VM, and the identity under which vmkeep keeps Storage vMotion off it."""

    vm: VmRef
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessJob:
    """Keep Storage vMotion off some VMs, or allow it again."""

    vms: tuple[VmAccess, ...]
    prepare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDone:
    """The result of an :class:`AccessJob`."""

    problems: dict[str, str]
    """The errors, by managed object id of the VM that they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The cursor of a copy: everything below ``offset`` is durable under ``root``."""

    snapshot: str | None
    offset: int
    root: str
    bytes_read: int = 0
    bytes_stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopy:
    """The copy of one disk. It is sealed only together with copies of the same snapshot."""

    run: str
    begun: str = ""
    """The try of its job."""
    snapshot: str | None
    disk: Disk
    root: str
    kind: BackupKind
    reason: str
    change_id: ChangeId | None
    extents: str
    """Digest (hex) of the map root that holds the encoded extents that were read."""
    extents_size: int
    bytes_read: int
    bytes_stored: int
    seconds: float
    transport: str
    resumed_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An event of a running transfer, for a bar, a log line or a page."""

    phase: str
    bytes_done: int
    bytes_total: int
    bytes_stored: int = 0
    rate: float = 0.0
    """Bytes per second over the last seconds."""
    eta_seconds: float | None = None
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteJob:
    """Write one disk of a restore point onto a disk of a VM."""

    run: str
    """The run that has marked the target VM."""
    point: str
    device_key: int
    """The disk inside the restore point."""
    vm: VmRef
    """The target."""
    vcenter: str | None
    """Instance UUID of its vCenter."""
    target_key: int
    """Device key of the target disk."""
    target_uuid: str | None
    target_file: str
    """``[datastore] folder/name.vmdk``: the target disk's current name."""
    capacity: int
    """Bytes of the target disk."""
    fresh: bool
    """The target was just created: what the point does not hold needs no zeroes written."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWrite:
    """The result of writing one disk: written and flushed."""

    run: str
    device_key: int
    target_file: str
    bytes_written: int
    bytes_zeroed: int
    bytes_compared: int
    """Read back after the disk was closed, and found to be what was written."""
    seconds: float
    transport: str


T = TypeVar("T")

_first_use = threading.Lock()
_used: set[type] = set()
"""Types that msgspec knows by now. It looks at a type when it first meets it, and crashes the process where two threads
do that at once."""


def to_plain(value: object) -> Any:
    """Return a value as JSON would give it back: dicts, lists (not tuples, which XCom wraps), strings, numbers."""
    return msgspec.json.decode(msgspec.json.encode(value))


def from_plain(kind: type[T], plain: Any) -> T:
    """Parse what :func:`to_plain` made; missing fields and wrong types raise ``ValueError``."""
    return _safely(kind, lambda: msgspec.convert(plain, kind))


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return msgspec.json.encode(value)


def from_json(kind: type[T], text: bytes | str) -> T:
    """Parse what :func:`to_json` made; anything else raises ``ValueError``."""
    return _safely(kind, lambda: msgspec.json.decode(text, type=kind))


def _safely(kind: type[T], parse: Callable[[], T]) -> T:
    """Parse; for the first time in one thread alone, as types may share others."""
    if kind in _used:
        return parse()
    with _first_use:
        value = parse()
        _used.add(kind)
        return value
