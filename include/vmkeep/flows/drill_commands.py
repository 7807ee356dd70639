"""Runs a command in the guest of a VM that a drill has made and kept, and in no other VM.

Such a command may destroy data on purpose: it takes the personal data out of a copy, before testers get it. So the VM
has to be known to the drill's journal and to carry the drill's mark. The original has neither, and a clone of the
drill's VM is not in the journal.
"""

from __future__ import annotations

import logging

from vmkeep.errors import ConflictError, GuestCommandError, NotFoundError, UsageError, VmKeepError
from vmkeep.flows.as_planned import require_same_vcenter
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.recovery_journal import Journal, RecoveryOrder, area_of
from vmkeep.flows.recovery_order import mark_of
from vmkeep.flows.recovery_records import find_order
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import GuestLogin
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere.drills import has_mark
from vmkeep.vsphere.guestcommands import GuestShell, open_shell
from vmkeep.vsphere.server import server_uuid

__all__ = ["DrillCommand", "run_in_drill"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillCommand:
    """A command that ended well in the guest of a drill's VM."""

    vm: VmRef
    seconds: float
    output: str
    """The text that it printed, shortened in the middle if it is long."""


def run_in_drill(site: Site, run: str, vm: str, command: str, *, login: GuestLogin, seconds: float) -> DrillCommand:
    """Run a command in the guest of one VM of a drill, and return what it printed.

    The command is terminated if it takes too long. It may have run in part then.

    :param run: the drill. It has to be over, with its VMs kept.
    :param vm: the name that the drill gave the VM, or its managed object id.
    :param seconds: the time limit.
    :raises NotFoundError: there is no such run, it is no drill, or it has no such VM.
    :raises ConflictError: the drill is at work, or the VM does not carry its mark. Nothing was run.
    :raises GuestCommandError: the command ended with another exit code than 0, or did not end in time.
    """
    if not command.strip():
        raise UsageError("the command for the guest is empty")
    with open_site_repository(site) as repository:
        order = find_order(repository, run)
        if not order.drill:
            raise NotFoundError(f"run {run} is no drill: commands are run only in VMs that are there to be removed")
        if repository.run(area_of(run)).has_live_lease():
            raise ConflictError(f"drill {run} is at work, and may restore its VMs anew: wait for its end")
        one, mark = _vm_of(repository, order, vm), mark_of(repository, order)
    with open_vsphere(site) as session:
        require_same_vcenter(order.vcenter, server_uuid(session))
        if not has_mark(session, one.moref, mark):
            raise ConflictError(
                f"VM {one} does not carry the mark of drill {run} any more, because somebody keeps it: nothing was run"
            )
        return _ended_well(open_shell(session, one.moref, login), one, command, seconds)


def _vm_of(repository: Repository, order: RecoveryOrder, text: str) -> VmRef:
    """Return the VM that the drill has made, by its name or its managed object id."""
    journal, made = Journal(repository, order.run), []
    for number in range(1, len(order.vms) + 1):
        outcome = journal.outcome(number)
        if outcome is not None and outcome.moref is not None and not outcome.removed:
            made.append(VmRef(moref=outcome.moref, name=outcome.new_name))
    found = [vm for vm in made if text in (vm.moref, vm.name)]
    if len(found) != 1:
        there = ", ".join(map(str, made)) or "none"
        raise NotFoundError(f"drill {order.run} has made no VM '{text}' that is still there; there are: {there}")
    return found[0]


def _ended_well(shell: GuestShell, vm: VmRef, command: str, seconds: float) -> DrillCommand:
    output = shell.new_output()
    ended = shell.run(command, seconds=seconds, output=output)
    said = _said(shell, output)
    if ended.exit_code != 0:
        told = f"; it says: {said.strip()[-_EXCERPT:]}" if said.strip() else ""
        raise GuestCommandError(f"VM {vm}: the command ended with exit code {ended.exit_code}{told}")
    return DrillCommand(vm=vm, seconds=ended.seconds, output=said)


_EXCERPT = 500
"""Characters of the output that a failure quotes. Most errors stand at the end."""


def _said(shell: GuestShell, output: str | None) -> str:
    """Return the output. That it cannot be read fails no command that has ended."""
    try:
        return shell.fetch(output) if output else ""
    except VmKeepError as error:
        log.warning("the output of a command in the guest is lost: %s", error)
        return ""
