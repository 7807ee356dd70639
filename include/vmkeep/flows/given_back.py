"""Gives a VM back running, as it was found, if the restore that switched it off certainly wrote nothing to it.

The run notes the VM before it switches it off. The note goes as soon as the VM is given back, or another restore takes
it over. So no VM is switched on twice, and none that its user has switched off since then.
"""

from __future__ import annotations

import logging

from vmkeep.errors import ConflictError, NotFoundError, VmKeepError
from vmkeep.flows.claiming import claim_existing, make_claim
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, inventory, machines
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def take_on(repository: Repository, dead: str, heir: str) -> None:
    """Let a run give a VM back in place of a dead run, so that the VM is not started only to be switched off again."""
    if (moref := RunLedger(repository, dead).switched_off()) is not None:
        RunLedger(repository, heir).note_switched_off(moref)
        RunLedger(repository, dead).forget_switched_off()


def to_give_back(repository: Repository, run: str) -> str | None:
    """Return the VM to switch on again after a run has ended; ``None``: there is none, or it may be partly written."""
    ledger = RunLedger(repository, run)
    if ledger.outcome() is not Outcome.CLEANED_UP or not ledger.wrote_nothing():
        return None
    return ledger.switched_off()


def give_back(session: Session, repository: Repository, run: str, moref: str) -> None:
    """Switch a VM on that a run has switched off, and to which it wrote nothing. A failure is only logged.

    The run holds its mark on the VM meanwhile, so that no other restore switches it off and writes to it. A VM that an
    earlier restore has left partly written stays off.
    """
    try:
        claim = make_claim(session, repository, run, made=False)
        vm = claim_existing(session, claim, lambda: inventory.describe_vm(session, moref))
        if vm.incomplete:
            log.warning("VM %s stays off, because an earlier restore has left its disks partly written", vm.ref)
        elif machines.power_on(session, moref):
            log.warning("VM %s: no disk was written, and the VM is switched on again, as it was found", vm.ref)
        RunLedger(repository, run).forget_switched_off()
        claims.let_go(session, moref, run)
    except (ConflictError, NotFoundError) as error:
        log.warning("VM %s is not switched on by run %s, though no disk was written: %s", moref, run, error)
    except VmKeepError as error:
        log.error(
            "VM %s IS OFF, because run %s has switched it off and cannot switch it on again: %s. No disk was written: "
            "start it in vCenter",
            moref, run, error,
        )  # fmt: skip
