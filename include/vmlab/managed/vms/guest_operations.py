"""Refuses guest operations, because no guest of the lab runs programs or has files."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.site import Call, refusal
from vmlab.managed.vcenter import MANAGER_PARTS
from vmlab.managed.vms.power import invalid_power_state


def refuse_guest_operation(call: Call, vm: Any = None, **_: Any) -> Any:
    """Return the fault for a guest operation: the VM is off, its Tools do not run, or the guest does not support it."""
    if vm is None:
        return None
    entry = call.world.entry(vm)
    state, guest = entry.props["runtime"].powerState, entry.props.get("guest")
    if state != "poweredOn":
        return invalid_power_state(state, "poweredOn")
    if guest is None or guest.toolsRunningStatus != "guestToolsRunning":
        return vim.fault.GuestOperationsUnavailable(msg="The guest operations agent could not be contacted.")
    return vim.fault.OperationNotSupportedByGuest(msg="The operation is not supported by the guest operating system.")


for _kind in (type(part) for part in MANAGER_PARTS[vim.vm.guest.GuestOperationsManager].values()):
    refusal(_kind)(refuse_guest_operation)
