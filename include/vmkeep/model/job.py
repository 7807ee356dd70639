"""The job of one disk's copy, its progress while it runs, and its result.

These values cross process borders (Airflow's XCom, a child's stdin and stdout), so they hold plain data and no secrets.
Large data, such as lists of extents, lies in the repository in the run's area.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from vmkeep.lateclass import dataclass
from vmkeep.model.audit import Audit, AuditPlan
from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.fullreason import FullReason
from vmkeep.model.limits import Limit
from vmkeep.model.lun import LunRead
from vmkeep.model.overwrite import BlockChoice, Blocks, Verify
from vmkeep.model.point import BackupKind
from vmkeep.model.transport import DEFAULT_MODES, AccessUsed, TransportMode
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskJob:
    """The order to copy one disk of one VM snapshot into the repository."""

    run: str
    """Run key, which all retries of one backup share."""
    begun: str = ""
    """Id of the run's try that this is part of. The try began before anything for this job was looked up."""
    vm: VmRef
    vcenter: str | None = None
    """UUID of the server to which these ids belong."""
    snapshot: str | None
    """Managed object id of the snapshot; ``None``: the VM is powered off and is copied without a snapshot."""
    disk: Disk
    """The disk in the snapshot: ``disk.file_name`` is the file to open."""
    kind: BackupKind
    reason: str
    change_id: ChangeId | None
    """The disk's change id at this snapshot, kept for the next incremental."""
    extents: str | None
    """Name of the run's note that holds the extents to read; ``None``: read the extents that the disk allocates."""
    parent_root: str | None
    """Map root of the same disk in the parent point, the base for all blocks that are not read."""
    full_reason: FullReason | None = None
    """The reason for a full read, as data; ``None``: only changes are read."""
    parent: str | None = None
    """Ref of the parent point."""
    audit: AuditPlan | None = None
    """The sample of unchanged blocks to read and compare; ``None``: none."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    why_transports: str = ""
    """The reasons why modes that the request prefers are not among these."""
    lun: LunRead | None = None
    """The LUN from which this proxy reads the disk; ``None``: it is read through vSphere."""
    limits: tuple[Limit, ...] = ()
    """The limits within which the disk may be opened. The copy takes a permit of each."""
    seen_at: datetime | None = None
    """Time at which ``disk`` and ``limits`` were true; ``None``: somebody may have moved the disk since."""
    piece_size: int = 1 << 20
    depth: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The state of an interrupted copy: all data below byte ``offset`` of the disk is durable under map ``root``."""

    snapshot: str | None
    offset: int
    root: str
    bytes_read: int = 0
    bytes_stored: int = 0
    audit: Audit | None = None
    """The outcome of the audit, which was done before. If it found a lie, the copy is a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopy:
    """The copy of one disk. It is sealed only together with copies of the same snapshot."""

    run: str
    begun: str = ""
    """Id of the try that its job belongs to."""
    snapshot: str | None
    disk: Disk
    root: str
    kind: BackupKind
    reason: str
    change_id: ChangeId | None
    extents: str
    """Digest (hex) of the map root of the encoded list of extents that were read."""
    extents_size: int
    bytes_read: int
    bytes_stored: int
    seconds: float
    transport: str
    resumed_at: int = 0
    full_reason: FullReason | None = None
    audit: Audit | None = None
    suspects: tuple[str, ...] = ()
    """Refs of the points that were marked as suspect, because the audit found a change that they may lack."""
    access: AccessUsed | None = None
    """The driver and the transport mode that were used, with the reasons; ``None``: an older program made the copy."""
    lun: LunRead | None = None
    """The LUN from which the disk was read; ``None``: it was read through vSphere."""
    cpu_seconds: float | None = None
    """CPU seconds of the process that copied, its start included; ``None``: an older program made the copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a running transfer, for a progress bar, a log line or a page."""

    phase: str
    bytes_done: int
    bytes_total: int
    bytes_stored: int = 0
    rate: float = 0.0
    """Bytes per second over the last seconds."""
    eta_seconds: float | None = None
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """The state of a task's work when the task last told of it, for people who look from elsewhere."""

    label: str
    """The disk or the part of the work."""
    phase: str
    done: int
    total: int
    """Zero: not known."""
    in_bytes: bool
    """Whether the two numbers above are bytes. Else only their share tells something."""
    rate: float
    """Per second, over the last half minute."""
    idle_seconds: float
    """Seconds since the numbers had last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteJob:
    """The order to write one disk of a restore point onto a disk of a VM."""

    run: str
    """The run that has claimed the target VM."""
    point: str
    """Ref of the restore point."""
    device_key: int
    """Device key of the disk inside the restore point."""
    label: str = ""
    """The label of that disk, for people; empty: an older program made the order."""
    vm: VmRef
    """The target VM."""
    vcenter: str | None
    """Instance UUID of the target's vCenter."""
    target_key: int
    """Device key of the target disk."""
    target_uuid: str | None
    target_file: str
    """``[datastore] folder/name.vmdk``, the target disk's current file."""
    snapshot: str | None = None
    """Managed object id of the temporary snapshot whose disk is written; ``None``: the current disk is."""
    snapshot_file: str = ""
    """The file of the disk in that snapshot."""
    capacity: int
    """Size of the target disk in bytes."""
    fresh: bool
    """Whether the target disk was just created, so that it holds zeros already."""
    resumes: bool = False
    """Whether the disk may hold what earlier tries of this job have written, because nothing disturbed it since."""
    choice: BlockChoice | None = None
    """The blocks to write over an existing disk; ``None``: all."""
    verify: Verify = Verify.SAMPLE
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    limits: tuple[Limit, ...] = ()
    """The limits within which the disk may be opened. The transfer takes a permit of each."""

    @property
    def name(self) -> str:
        """The disk as people know it: its label, else the file that is written."""
        return self.label or self.target_file


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWrite:
    """The result of writing one disk, which was also flushed."""

    run: str
    device_key: int
    target_file: str
    bytes_written: int
    bytes_zeroed: int
    bytes_compared: int
    """Bytes that were read back after the disk was closed, and that match the bytes written."""
    bytes_resumed: int = 0
    """Bytes that earlier tries had written."""
    seconds: float
    transport: str
    access: AccessUsed | None = None
    blocks: Blocks = Blocks.ALL
    why_blocks: str = ""
    """The reason for these blocks; empty: the disk is new, so that all blocks are written."""


T = TypeVar("T")

_first_use = threading.Lock()
_used: set[type] = set()
"""Types that msgspec has used before. It inspects a type at its first use; if two threads do that at the same time, the
process crashes."""


def to_plain(value: object) -> Any:
    """Return a value as dicts, lists, strings and numbers, as in JSON. Tuples become lists, because XCom wraps them.

    Names that are no Unicode change as by :func:`to_json`.
    """
    return msgspec.json.decode(to_json(value))


def from_plain(kind: type[T], plain: Any) -> T:
    """Parse data that :func:`to_plain` made.

    :raises ValueError: a field is missing, or a value has a wrong type.
    """
    return _safely(kind, lambda: msgspec.convert(plain, kind))


def to_json(value: object) -> bytes:
    r"""Return a value as compact JSON.

    A guest may name a file by bytes that are no Unicode. JSON cannot hold such a name, so each of its lone surrogates
    becomes a backslash and a number: ``\xff`` for a byte, else ``\ud800``.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(plain: Any) -> Any:
    if isinstance(plain, str):
        return "".join(each if not "\ud800" <= each <= "\udfff" else _escape(ord(each)) for each in plain)
    if isinstance(plain, dict):
        return {_without_surrogates(key): _without_surrogates(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_without_surrogates(each) for each in plain]
    return plain


def _escape(surrogate: int) -> str:
    is_byte = 0xDC80 <= surrogate <= 0xDCFF  # Python's stand-in for a byte that is no UTF-8
    return f"\\x{surrogate - 0xDC00:02x}" if is_byte else f"\\u{surrogate:04x}"


def from_json(kind: type[T], text: bytes | str) -> T:
    """Parse JSON that :func:`to_json` made.

    :raises ValueError: the text is no JSON, a field is missing, or a value has a wrong type.
    """
    return _safely(kind, lambda: msgspec.json.decode(text, type=kind))


def _safely(kind: type[T], parse: Callable[[], T]) -> T:
    """Parse; at a type's first use, in one thread at a time for all types, because types may contain each other."""
    if kind in _used:
        return parse()
    with _first_use:
        value = parse()
        _used.add(kind)
        return value
