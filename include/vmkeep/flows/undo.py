"""Undoes a restore over an existing VM, or accepts it: goes back to the snapshot that it kept, or removes that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from vmkeep.errors import AmbiguousError, ConflictError, NotFoundError, StaleError, TransientError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.other_restores import LEASE, HasEnded, dead_or_refused, end_restore, nobody_knows
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.flows.restore_plan import refuse_beside_a_backup
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import changes, claims, inventory, machines, rightscheck, snapshots
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.rights import Purpose, When
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot

log = logging.getLogger(__name__)

_LOOKS = 10
"""Number of attempts to mark a VM, because a running guest may change its VM's settings between look and mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """The outcome for one VM."""

    vm: VmRef
    restore: str
    """Key of the restore that was undone or accepted."""
    snapshot: str
    """Managed object id of the snapshot, which is gone now."""
    undone: bool
    """The VM is what it was before the restore; else the restored state stays."""
    powered_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoable:
    """A restore of a VM that can be undone or accepted."""

    vm: VmRef
    restore: str
    """Key of the restore."""
    snapshot: str
    """Managed object id of the snapshot that it keeps."""
    taken_at: datetime
    """Time of the snapshot, by vCenter's clock."""
    power: str
    """Power state of the VM now."""


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
    return Undoable(vm=vm.ref, restore=kept.undo_of, snapshot=kept.moref, taken_at=kept.created_at, power=power.value)


def undo_restore(
    site: Site,
    vm_selector: str,
    *,
    run: str,
    restore: str | None = None,
    power_on: bool = False,
    has_ended: HasEnded = nobody_knows,
) -> Undone:
    """Switch a VM off, put it back to the state before a restore, and remove the snapshot.

    All that the VM has written since the restore is lost. The next backup of the VM is a full one.

    :param run: the run that does it, which marks the VM meanwhile.
    :param restore: key of the restore; ``None``: the only one that can be undone.
    :raises NotFoundError: no such restore can be undone.
    :raises AmbiguousError: several can; the message lists them.
    :raises ConflictError: a backup or a restore is at work on the VM, or snapshots were taken after the restore.
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
        _require_newest(session, vm.ref, kept)
        mark = _hold(session, repository, vm.ref, run, has_ended)
        lease.check()
        machines.power_off(session, vm.moref)
        snapshots.revert(session, vm.moref, kept.moref)
        # The snapshot holds the VM's settings, and with them the mark of the restore and the tracking of before. That
        # restore is over, so its mark would not keep another one away while the snapshot is removed.
        claims.take_over(session, vm.moref, mark, of=kept.undo_of)
        changes.disable_tracking(session, vm.moref)
        machines.renew_generation(session, vm.moref)
        snapshots.remove(session, vm.moref, kept.moref)
        claims.let_go(session, vm.moref, run)
        if power_on:
            _power_on(session, vm.ref)
    return Undone(vm=vm.ref, restore=kept.undo_of, snapshot=kept.moref, undone=True, powered_on=power_on)


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
        refuse_beside_a_backup(session, repository, vm.ref, has_ended)
        if dead_or_refused(session, repository, vm.ref, vm.mark, has_ended) is not None:
            raise ConflictError(
                f"VM {vm.ref} is partly written by a restore that did not finish: undo that restore, or restore again"
            )
        snapshots.remove(session, vm.moref, kept.moref)
    return Undone(vm=vm.ref, restore=kept.undo_of, snapshot=kept.moref, undone=False)


def _kept(session: Session, vm: VmRef, restore: str | None) -> VmSnapshot:
    found = [one for one in snapshots.list_all(session, vm.moref) if one.undo_of]
    fit = [one for one in found if restore in (None, one.undo_of)]
    listed = ", ".join(f"{one.undo_of} of {one.created_at:%Y-%m-%d %H:%M} UTC" for one in found)
    if not fit:
        raise NotFoundError(
            f"VM {vm} has no snapshot by which {f'restore {restore}' if restore else 'a restore'} could be undone"
            + (f"; it has those of {listed}" if found else ": only a restore with --undo snapshot keeps one")
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


def _power_on(session: Session, vm: VmRef) -> None:
    if (other := claims.claim_on(session, vm.moref)) is not None:
        raise StaleError(f"VM {vm} is as it was before, but run {other.run} restores it by now: it is not switched on")
    machines.power_on(session, vm.moref)


def _hold(session: Session, repository: Repository, vm: VmRef, run: str, has_ended: HasEnded) -> VmClaim:
    """Mark the VM, as a restore does, so that no backup or restore begins meanwhile. Return the mark."""
    RunLedger(repository, run).begin("")
    mark = VmClaim(run=run, made=False, began=session.server_time(), repository=repository.id)
    for _ in range(_LOOKS):
        now = inventory.describe_vm(session, vm.moref)
        if (dead := dead_or_refused(session, repository, vm, now.mark, has_ended)) is not None and dead.run != run:
            end_restore(session, repository, dead.run, release=lambda _moref: None)
            continue
        if claims.hold(session, vm.moref, mark, version=now.change_version):
            refuse_beside_a_backup(session, repository, vm, has_ended)
            return mark
    raise TransientError(f"VM {vm} is being changed all the time; nothing was touched")
