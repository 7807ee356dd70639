"""Undoes a restore over an existing VM, or accepts it: goes back to the snapshot that it kept, or removes that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vmkeep.errors import AmbiguousError, ConflictError, NotFoundError, StaleError, VmKeepError, VSphereError
from vmkeep.flows import undo_hold, vm_access
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.half_written import without_run
from vmkeep.flows.liveness import LEASE, HasEnded, nobody_knows
from vmkeep.flows.plan_over import refuse_beside_a_backup
from vmkeep.flows.undo_hold import HeldForUndo
from vmkeep.flows.undo_values import Undoable, Undone
from vmkeep.model.fieldwords import named
from vmkeep.model.purpose import Purpose
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import changes, claims, inventory, machines, rightscheck, snapshots
from vmkeep.vsphere.added_devices import find_added, labels_of_devices
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot


def find_undoable(site: Site, vm_selector: str, *, restore: str | None = None) -> Undoable:
    """Return the restore that would be undone or accepted. Nothing is changed.

    :param restore: key of the restore; ``None``: the only one that can be undone.
    :raises NotFoundError: no restore of the VM keeps a snapshot.
    :raises AmbiguousError: several do; the message lists them.
    """
    with open_vsphere(site) as session:
        vm = inventory.describe_vm(session, inventory.find_vm(session, vm_selector).moref)
        kept = _kept(session, vm.ref, restore)
        power = machines.power_state(session, vm.moref)
        added = find_added(session, vm.moref, kept.moref)
    return Undoable(
        vm=vm.ref,
        restore=kept.undo_of,
        snapshot=kept.moref,
        taken_at=kept.created_at,
        power=power.value,
        disks_added=tuple(disk.file_name for disk in added.disks),
        devices_added=added.others,
    )


def require_undoable(found: Undoable) -> None:
    """Return if nothing that was found bars undoing the restore, because nobody should say yes to what is refused then.

    :raises ConflictError: the VM got disks after the restore.
    """
    _refuse_disks(found.vm, found.disks_added)


def undo_restore(
    site: Site,
    vm_selector: str,
    *,
    run: str,
    restore: str | None = None,
    power_on: bool = False,
    owner: str = "",
    has_ended: HasEnded = nobody_knows,
) -> Undone:
    """Switch a VM off, put it back to the state before a restore, and remove the snapshot.

    All that the VM has written since the restore is lost. The next backup of the VM is a full one. If the VM cannot be
    put back, it is left as it was found, and running if it was.

    :param run: the run that does it, which marks the VM meanwhile.
    :param owner: the owner of the run, in the owner's words; empty: this process.
    :param restore: key of the restore; ``None``: the only one that can be undone.
    :raises NotFoundError: no such restore can be undone.
    :raises AmbiguousError: several can; the message lists them.
    :raises ConflictError: a backup or a restore is at work on the VM, or snapshots were taken or disks added after the
        restore.
    :raises StaleError: another restore has marked the VM meanwhile. The VM stays off, and the mark stays.
    """
    with (
        open_site_repository(site) as repository,
        open_vsphere(site) as session,
        repository.run(run).open_lease(LEASE) as lease,
    ):
        vm = inventory.describe_vm(session, inventory.find_vm(session, vm_selector).moref)
        kept = _kept(session, vm.ref, restore)
        rightscheck.require_on_vm(session, Purpose.RESTORE_OVER, vm, when=(When.UNDO,))
        held = undo_hold.hold(site, session, repository, vm, run, owner=owner, has_ended=has_ended)
        had = labels_of_devices(session, vm.moref)
        _go_back(session, repository, vm, kept, held, lease.check, has_ended)
        # The snapshot holds the VM's settings, and with them the mark of the restore and the tracking of before. That
        # restore is over, so its mark would not keep another one away while the snapshot is removed.
        claims.take_over(session, vm.moref, held.claim, of=kept.undo_of)
        changes.disable_tracking(session, vm.moref)
        machines.renew_generation(session, vm.moref)
        lost = _lost(had, labels_of_devices(session, vm.moref))
        snapshots.remove(session, vm.moref, kept.moref)
        left_off = _let_go(session, vm.ref, run, kept.undo_of)
        if power_on and not left_off:
            left_off = _power_on(session, vm.ref)
    return Undone(
        vm=vm.ref,
        restore=kept.undo_of,
        snapshot=kept.moref,
        undone=True,
        powered_on=power_on and not left_off,
        warnings=(*lost, *left_off),
    )


def _go_back(
    session: Session,
    repository: Repository,
    vm: inventory.VmDescription,
    kept: VmSnapshot,
    held: HeldForUndo,
    check: Callable[[], None],
    has_ended: HasEnded,
) -> None:
    """Switch the VM off, and put it back.

    :param check: raises an error if this run has been told to stop.
    """
    try:
        refuse_beside_a_backup(session, repository, vm.ref, has_ended)
        if kept.moref not in [one.moref for one in snapshots.list_all(session, vm.moref)]:
            # Because it goes with a dead restore that wrote nothing.
            raise NotFoundError(
                f"the restore of run {kept.undo_of} over VM {vm.ref} wrote nothing, so there is nothing to undo: its "
                "snapshot is removed, and the VM is given back as that restore found it"
            )
        _require_newest(session, vm.ref, kept)
        _require_no_disks(session, vm.ref, kept)
        check()
        machines.power_off(session, vm.moref)
    except (VmKeepError, KeyboardInterrupt):
        undo_hold.give_back(session, vm, held)
        raise
    try:
        snapshots.revert(session, vm.moref, kept.moref)
    except VSphereError:  # other errors do not tell whether the VM is put back, so that it stays off and marked
        undo_hold.give_back(session, vm, held)
        raise


def accept_restore(
    site: Site, vm_selector: str, *, restore: str | None = None, has_ended: HasEnded = nobody_knows
) -> Undone:
    """Remove the snapshot that a restore kept, so that the restored state stays. The VM may run.

    :param restore: key of the restore; ``None``: the only one that can be undone.
    :raises NotFoundError: no restore of the VM keeps a snapshot.
    :raises AmbiguousError: several do; the message lists them.
    :raises ConflictError: a backup or a restore is at work on the VM.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        vm = inventory.describe_vm(session, inventory.find_vm(session, vm_selector).moref)
        kept = _kept(session, vm.ref, restore)
        dead = dead_or_refused(session, repository, vm.ref, vm.claim, has_ended)
        refuse_beside_a_backup(session, repository, vm.ref, has_ended)
        if (dead is not None and not dead.whole) or kept.undo_of in vm.incomplete.split():
            raise ConflictError(
                f"VM {vm.ref} is partly written by a restore that did not finish: undo that restore, or restore again"
            )
        snapshots.remove(session, vm.moref, kept.moref)
        if dead is not None:
            vm_access.release(site, session, repository, vm.moref, dead.run)
            claims.let_go(session, vm.moref, dead.run)
    return Undone(vm=vm.ref, restore=kept.undo_of, snapshot=kept.moref, undone=False)


def _kept(session: Session, vm: VmRef, restore: str | None) -> VmSnapshot:
    found = [one for one in snapshots.list_all(session, vm.moref) if one.undo_of]
    fit = [one for one in found if restore in (None, one.undo_of)]
    listed = ", ".join(f"{one.undo_of} of {one.created_at:%Y-%m-%d %H:%M} UTC" for one in found)
    if not fit:
        raise NotFoundError(
            f"VM {vm} has no snapshot by which {f'restore {restore}' if restore else 'a restore'} could be undone"
            + (
                f"; it has those of {listed}"
                if found
                else f": only a restore with {named('undo', 'snapshot')} keeps one"
            )
        )
    if len(fit) > 1:
        raise AmbiguousError(f"VM {vm} keeps the snapshots of several restores, name one by --restore: {listed}")
    return fit[0]


def _require_newest(session: Session, vm: VmRef, kept: VmSnapshot) -> None:
    """Return if no snapshot was taken after the one to go back to.

    :raises ConflictError: later snapshots, which somebody may need, would hang in the air.
    """
    later = [one.name for one in snapshots.list_all(session, vm.moref) if one.created_at > kept.created_at]
    if later:
        raise ConflictError(
            f"VM {vm} has snapshots that were taken after the restore ({', '.join(later)}): remove them in vCenter, "
            "then undo the restore"
        )


def _require_no_disks(session: Session, vm: VmRef, kept: VmSnapshot) -> None:
    """Return if the VM got no disk after the restore.

    :raises ConflictError: going back would take disks off the VM, and their files would be of no VM.
    """
    added = find_added(session, vm.moref, kept.moref)
    _refuse_disks(vm, [f"{disk.label} ({disk.address}, {disk.file_name})" for disk in added.disks])


def _refuse_disks(vm: VmRef, added: Sequence[str]) -> None:
    if added:
        raise ConflictError(
            f"VM {vm} got disks after the restore, which going back would take off it: {', '.join(added)}. Remove them "
            "from the VM in vCenter, keep their files if you need them, then undo the restore; you can add the files "
            "again after"
        )


def _lost(before: Mapping[int, str], now: Mapping[int, str]) -> tuple[str, ...]:
    listed = ", ".join(label for key, label in before.items() if key not in now)
    return (f"the VM lost devices that it got after the restore: {listed}",) if listed else ()


def _let_go(session: Session, vm: VmRef, run: str, restore: str) -> tuple[str, ...]:
    """Take the mark of the undo off. Return a warning if it stays, because a retry would find nothing to undo."""
    try:
        noted = claims.incomplete_on(session, vm.moref)
        claims.let_go(session, vm.moref, run, incomplete=without_run(noted, restore))
    except VmKeepError as error:
        why = f"VM {vm} is as it was before, but off and marked by run {run}, which 'vmkeep vm sweep' ends: {error}"
        return (why,)
    return ()


def _power_on(session: Session, vm: VmRef) -> tuple[str, ...]:
    """Switch the VM on. Return a warning if it stays off, because nothing is left to undo, and a retry would fail.

    :raises StaleError: another restore has marked the VM by now.
    """
    if (other := claims.claim_on(session, vm.moref)) is not None:
        raise StaleError(f"VM {vm} is as it was before, but run {other.run} restores it by now: it is not switched on")
    try:
        machines.power_on(session, vm.moref)
    except VmKeepError as error:
        return (f"VM {vm} is as it was before, but may be off: {error}",)
    return ()
