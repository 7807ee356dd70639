"""Changed block tracking: switches it on and off, and asks for the bytes that changed since a change id.

An answer may contain too much, but never too little. An answer that does not fit raises :class:`ChangesUnknownError`,
and the caller reads the whole disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from vmkeep.errors import (
    ChangesUnknownError,
    DeadlineError,
    NotFoundError,
    SnapshotsInTheWayError,
    StaleError,
    TransientError,
    UnreachableError,
    UnsupportedError,
)
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ChangeId
from vmkeep.model.extents import Extent, Extents, align_out
from vmkeep.model.fullreason import FullReason
from vmkeep.vsphere.api import type_name, vim, vmodl
from vmkeep.vsphere.describe import change_id as change_id_of
from vmkeep.vsphere.describe import held_devices
from vmkeep.vsphere.faults import message, speaking
from vmkeep.vsphere.packed_areas import areas_of, query_changed_areas
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

QUERY_SECONDS = 1800.0
"""Seconds for all answers about one disk. After that, reading the whole disk is quicker."""
ANSWER_SECONDS = 600.0
"""Seconds for one answer. On a large disk the server may send nothing for minutes."""
LOST_SECONDS = 60.0
"""Seconds during which a lost connection is tried again, because a vCenter may be restarting."""
_RETRY_SECONDS = 2.0
RECONFIGURE_SECONDS = 300.0
_SECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAnswer:
    """One answer of ``QueryChangedDiskAreas``: the part of the disk that it covers, and the changed areas in it."""

    start: int
    """Offset of the covered part, in bytes."""
    length: int
    """Bytes of the covered part."""
    areas: Iterable[tuple[int, int]]
    """Offset and length of each changed area, in bytes."""


def collect(ask: Callable[[int], ChangeAnswer], capacity: int, *, timeout: float = QUERY_SECONDS) -> Extents:
    """Ask until the answers cover the whole disk. Return the changed extents, as whole sectors.

    One answer covers only a part of a large disk, so that a program that asks once makes incomplete backups.

    :param ask: asks vSphere for the changes from a byte offset on.
    :param capacity: bytes of the disk.
    :raises ChangesUnknownError: an answer starts elsewhere, makes no progress, or goes past the end of the disk.
    :raises DeadlineError: the answers took longer than ``timeout`` seconds.
    """
    return align_out(_told(ask, capacity, timeout), _SECTOR, within=capacity)


def _told(ask: Callable[[int], ChangeAnswer], capacity: int, timeout: float) -> Iterator[Extent]:
    deadline = time.monotonic() + timeout
    at = 0
    while at < capacity:
        if time.monotonic() >= deadline:
            raise DeadlineError(waiting_for=f"changed areas (at byte {at} of {capacity})", seconds=timeout)
        answer = ask(at)
        if answer.start != at:
            raise ChangesUnknownError(
                f"changed areas were asked for from byte {at}, but the answer starts at {answer.start}"
            )
        if answer.length <= 0:
            raise ChangesUnknownError(f"the answer about changed areas makes no progress at byte {at} of {capacity}")
        if at + answer.length > capacity:
            raise ChangesUnknownError(
                f"changed areas are told for {at + answer.length} bytes, but the disk has {capacity}: it was resized",
                reason=FullReason.RESIZED,
            )
        yield from _extents(answer.areas, capacity)
        at += answer.length


def changed_extents(
    session: Session,
    moref: str,
    snapshot: str,
    device_key: int,
    capacity: int,
    change_id: ChangeId,
    *,
    timeout: float = QUERY_SECONDS,
) -> Extents:
    """Return the extents of one disk that changed between ``change_id`` and the snapshot, as whole sectors.

    :param capacity: bytes of the disk.
    :raises ChangesUnknownError: the changes are not known, so read the whole disk. The message is the reason to record.
    :raises StaleError: the snapshot is gone.
    """
    _check_lineage(session, snapshot, device_key, capacity, change_id)
    machine, held = session.vm(moref), session.managed(vim.vm.Snapshot, snapshot)
    deadline = time.monotonic() + timeout

    def ask(start: int) -> ChangeAnswer:
        try:
            answer = _patiently(
                session, lambda: query_changed_areas(machine, held, device_key, start, change_id), deadline
            )
        except vmodl.fault.ManagedObjectNotFound:
            raise StaleError(f"VM {moref}: snapshot {snapshot} is gone; start a new run") from None
        except vmodl.fault.SecurityError:
            raise
        except vmodl.MethodFault as fault:
            why = f"vSphere cannot tell the changes since {change_id} ({type_name(fault)}: {message(fault)})"
            raise ChangesUnknownError(why, reason=FullReason.QUERY_FAILED) from None
        except (TransientError, UnreachableError) as error:
            why = f"vSphere does not tell the changes since {change_id} ({error})"
            raise ChangesUnknownError(why, reason=FullReason.QUERY_FAILED) from None
        return ChangeAnswer(start=answer.startOffset, length=answer.length, areas=areas_of(answer))

    try:
        with speaking(f"ask for the changes of disk {device_key} of VM {moref}"):
            return collect(ask, capacity, timeout=timeout)
    except DeadlineError as error:
        why = f"vSphere takes too long to tell the changes since {change_id} ({error})"
        raise ChangesUnknownError(why, reason=FullReason.QUERY_SLOW) from None


def _patiently(session: Session, query: Callable[[], Any], deadline: float) -> Any:
    """Return one answer. Ask again for a while if the connection is lost, but not if the answer takes too long."""
    given_up: float | None = None
    while True:
        began = time.monotonic()
        patience = max(1.0, min(ANSWER_SECONDS, deadline - began))
        try:
            with session.patience(patience):
                return query()
        except (TransientError, UnreachableError):
            now = time.monotonic()
            given_up = given_up or min(deadline, now + LOST_SECONDS)
            if now - began >= patience or now + _RETRY_SECONDS >= given_up:
                raise
            time.sleep(_RETRY_SECONDS)


def enable_tracking(session: Session, moref: str) -> bool:
    """Switch tracking on. Return whether it was off. vSphere begins to track at the next snapshot.

    :raises SnapshotsInTheWayError: the VM has snapshots, and tracking that begins under a snapshot misses changes
        without an error.
    :raises UnsupportedError: the VM's hardware cannot track changes.
    """
    with speaking(f"look at the change tracking of VM {moref}"):
        values = read(
            session,
            session.vm(moref),
            "config.changeTrackingEnabled",
            "capability.changeTrackingSupported",
            "config.version",
            "snapshot",
        )
    if values["config.changeTrackingEnabled"]:
        return False
    if not values["capability.changeTrackingSupported"]:
        raise UnsupportedError(
            f"VM {moref}: vSphere says that it cannot track changed blocks (hardware {values['config.version']}; it "
            "takes vmx-07 or later)"
        )
    if values["snapshot"] is not None:
        raise SnapshotsInTheWayError(
            f"VM {moref} has snapshots: change tracking that begins under a snapshot misses changes; remove them first"
        )
    set_tracking(session, moref, enabled=True)
    return True


def disable_tracking(session: Session, moref: str) -> bool:
    """Switch tracking off. Return whether it was on."""
    with speaking(f"look at the change tracking of VM {moref}"):
        on = _tracked(session, moref)
    if on:
        set_tracking(session, moref, enabled=False)
    return on


def set_tracking(session: Session, moref: str, *, enabled: bool) -> None:
    """Reconfigure tracking, without the checks of :func:`enable_tracking`."""
    what = f"switch change tracking of VM {moref} {'on' if enabled else 'off'}"
    spec = vim.vm.ConfigSpec(changeTrackingEnabled=enabled)
    with speaking(what):
        run_task(
            session,
            lambda: session.vm(moref).ReconfigVM_Task(spec),
            what=what,
            timeout=RECONFIGURE_SECONDS,
            look=lambda: True if _tracked(session, moref) is enabled else None,
        )


def _tracked(session: Session, moref: str) -> bool:
    return bool(read(session, session.vm(moref), "config.changeTrackingEnabled")["config.changeTrackingEnabled"])


def check_succession(old: str, new: str) -> None:
    """Return if two change ids belong to one unbroken history, and ``old`` is not after ``new``.

    ESXi writes a change id as ``<UUID>/<number>``. The UUID changes when tracking is reset, the number only grows.

    :raises ChangesUnknownError: the tracking was reset, or the VM went back to an older snapshot.
    """
    old_uuid, _, old_number = old.rpartition("/")
    new_uuid, _, new_number = new.rpartition("/")
    if not old_uuid or not old_number.isdigit() or not new_number.isdigit():
        raise ChangesUnknownError(f"change ids {old} and {new} cannot be compared", reason=FullReason.TRACKING_RESET)
    if old_uuid != new_uuid:
        why = f"change tracking was reset since the last backup ({old} became {new})"
        raise ChangesUnknownError(why, reason=FullReason.TRACKING_RESET)
    if int(old_number) > int(new_number):
        why = f"the VM went back behind the last backup ({old} is later than {new})"
        raise ChangesUnknownError(why, reason=FullReason.REVERTED)


def _check_lineage(session: Session, snapshot: str, device_key: int, capacity: int, old: ChangeId) -> None:
    try:
        with speaking(f"read snapshot {snapshot}"):
            devices = held_devices(session, snapshot)
    except NotFoundError:
        raise StaleError(f"snapshot {snapshot} is gone; start a new run") from None
    disk: Any = next((device for device in devices if device.key == device_key), None)
    if not isinstance(disk, vim.vm.device.VirtualDisk):
        raise StaleError(f"snapshot {snapshot} holds no disk {device_key}; start a new run")
    now = (disk.capacityInBytes or disk.capacityInKB * 1024, change_id_of(disk.backing))
    if now[0] != capacity:
        why = f"the disk has {now[0]} bytes in the snapshot, not {capacity}: it was resized"
        raise ChangesUnknownError(why, reason=FullReason.RESIZED)
    if now[1] is None:
        raise ChangesUnknownError("the disk is not tracked in this snapshot", reason=FullReason.NOT_TRACKED)
    check_succession(old, now[1])


def _extents(areas: Iterable[tuple[int, int]], capacity: int) -> Iterable[Extent]:
    for start, length in areas:
        if start < 0 or length < 0:
            raise ChangesUnknownError(f"a changed area of {length} bytes at {start} makes no sense")
        if length and start < capacity:
            yield Extent(start, min(start + length, capacity))
