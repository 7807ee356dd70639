"""Chooses the way in which a restore writes a VM's disks, before the first write.

VDDK opens a disk for writing by SAN or HotAdd only if the VM has a snapshot. By HotAdd it writes the current disk,
above that snapshot. By SAN it writes no deltas, so it writes the disk below. The request's modes are tried in their
order, and the first that can write *every* disk is taken, because one VM is not written in two ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vmkeep.errors import UnsupportedError
from vmkeep.flows.restore_room import needs_above
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.flows.transports import Surroundings, judge, look
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.overwrite import Undo
from vmkeep.model.purpose import Purpose
from vmkeep.model.room import StoreNeed, growth
from vmkeep.model.transport import BY_NETWORK, TransportMode
from vmkeep.model.writeway import TemporarySnapshot, WriteWay
from vmkeep.proxy import has_lun
from vmkeep.vsphere import inventory, rightscheck
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.session import Session


def needs_a_look(asked: Sequence[TransportMode]) -> bool:
    """Return whether the modes of a request depend on the VM and on this machine."""
    return any(mode not in BY_NETWORK for mode in asked)


def way_over(session: Session, plan: RestorePlan, offered: Iterable[str]) -> WriteWay | None:
    """Return the way to write the existing VM of a plan; ``None``: the VM is new, or its modes need no look.

    :param offered: transport modes of the driver's library; none: it cannot tell.
    :raises UnsupportedError: there is none.
    """
    if plan.target is None or not needs_a_look(plan.request.transports):
        return None
    vm = inventory.describe_vm(session, plan.target.moref or "")
    keys = {match.target_key for match in plan.matches if match.written}
    written = [disk for disk in vm.disks if disk.key in keys]
    ground = _look(session, vm, written, offered, undo=plan.request.over.undo)
    return choose_way(replace(ground, above=needs_above(session, vm, written)), plan.request.transports)


def way_new(session: Session, plan: RestorePlan, moref: str, offered: Iterable[str]) -> WriteWay | None:
    """Return the way to write a VM that was just made; ``None``: its modes need no look.

    :param offered: transport modes of the driver's library; none: it cannot tell.
    :raises UnsupportedError: there is none.
    """
    if not needs_a_look(plan.request.transports):
        return None
    vm = inventory.describe_vm(session, moref)
    addresses = {match.disk.address for match in plan.matches if match.written}
    written = [disk for disk in vm.disks if disk.address in addresses]
    return choose_way(_look(session, vm, written, offered, undo=Undo.NONE), plan.request.transports)


def about_way(plan: RestorePlan) -> tuple[str, ...]:
    """Warn if the disks are not written by the mode that the request prefers."""
    return (f"the disks are written by {plan.way.modes[0]}; {plan.way.why}",) if plan.way and plan.way.why else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteGround:
    """Everything that the way of writing one VM depends on."""

    around: Surroundings
    vm: VmDescription
    written: tuple[Disk, ...]
    """The VM's disks that are written."""
    undo: Undo = Undo.NONE
    """The way back that is kept."""
    above: tuple[StoreNeed, ...] = ()
    """The space that a temporary snapshot may take, on each datastore, while disks are written above it."""
    lacking: tuple[str, ...] = ()
    """Privileges that a temporary snapshot needs, and that the user has not."""


def _look(
    session: Session, vm: VmDescription, written: Sequence[Disk], offered: Iterable[str], *, undo: Undo
) -> WriteGround:
    where = {On.VM: session.vm(vm.moref)}
    return WriteGround(
        around=look(session, vm, frozenset(offered)),
        vm=vm,
        written=tuple(written),
        undo=undo,
        lacking=rightscheck.missing_when(session, Purpose.RESTORE_OVER, When.WRITING_SNAPSHOT, where),
    )


def choose_way(ground: WriteGround, asked: Sequence[TransportMode]) -> WriteWay:
    """Return the first way of a request by which every disk can be written. Pure.

    :raises UnsupportedError: there is none.
    """
    by_network = tuple(mode for mode in asked if mode in BY_NETWORK)
    against: list[str] = []
    for mode in asked:
        if mode in BY_NETWORK:
            return WriteWay(modes=by_network, why="; ".join(against))
        reasons = tuple(dict.fromkeys(_against(mode, ground)))
        if not reasons:
            return _way_of(mode, by_network, against)
        against.append(f"not {mode}: {', '.join(reasons)}")
    raise UnsupportedError(
        f"VM {ground.vm.identity.name}: the request allows no transport mode that can write every disk; "
        f"{'; '.join(against)}. Cure that, or allow nbdssl as well"
    )


def _way_of(mode: TransportMode, by_network: tuple[TransportMode, ...], against: Sequence[str]) -> WriteWay:
    why = "; ".join(against)
    if mode is TransportMode.SAN:  # alone, because by another mode VDDK would write above the snapshot
        return WriteWay(modes=(mode,), snapshot=TemporarySnapshot.BELOW, why=why)
    return WriteWay(modes=(mode, *by_network), snapshot=TemporarySnapshot.ABOVE, why=why)


def _against(mode: TransportMode, ground: WriteGround) -> Iterator[str]:
    """Yield the reasons why a mode cannot write the disks."""
    verdicts = judge(ground.around, ground.written, (mode,))
    yield from (f"{verdict.disk.label}: {verdict.why_not}" for verdict in verdicts if verdict.why_not)
    yield from ground.vm.snapshot_obstacles
    if ground.lacking:
        yield f"for its temporary snapshot the user lacks {', '.join(ground.lacking)} on the VM"
    if mode is not TransportMode.SAN:  # which writes below the snapshot
        for need in ground.above:
            yield from growth(need, "its temporary snapshot can grow to")
    for disk in ground.written:
        if disk.skip is SkipReason.INDEPENDENT:
            yield f"{disk.label} is independent, and in no snapshot"
        elif disk.physical_rdm:
            yield f"{disk.label} is a physical-mode RDM, and in no snapshot"
        elif mode is TransportMode.SAN and disk.thin is not False:
            yield f"{disk.label} is thin, and its host would have to allocate every block"
    if mode is TransportMode.SAN:
        yield from _read_only_luns(ground)
        if ground.undo is not Undo.NONE:
            yield "a snapshot is kept to undo the restore, and SAN writes below a snapshot"
        if ground.vm.has_snapshots:
            yield "the VM has snapshots, and SAN writes only the disk below all of them"


def _read_only_luns(ground: WriteGround) -> Iterator[str]:
    """Yield a reason for each LUN that this machine sees, and may only read."""
    machine = ground.around.machine
    for disk in ground.written:
        for store in ground.around.reach.stores_of(disk):
            for lun in store.luns:
                if has_lun(machine.disks, lun) and not has_lun(machine.writable, lun):
                    yield f"the worker may read LUN {lun} of datastore {store.name}, and not write to it"
