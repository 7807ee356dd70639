"""Guest operations: who may ask a guest for something, and the refusal of all that the lab's guests cannot do."""

from typing import Any

from vmlab.api import moid, vim
from vmlab.managed.site import Call, Guest, Site, refusal
from vmlab.managed.vcenter import MANAGER_PARTS
from vmlab.managed.vms.power import invalid_power_state

NamePassword = vim.vm.guest.NamePasswordAuthentication


def unready(site: Site, vm: Any) -> Any:
    """Return the fault of a guest that cannot be asked, because the VM is off or its Tools do not run; else None."""
    entry = site.world.entry(vm)
    state, guest = entry.props["runtime"].powerState, entry.props.get("guest")
    if state != "poweredOn":
        return invalid_power_state(state, "poweredOn")
    if guest is None or guest.toolsRunningStatus != "guestToolsRunning":
        return vim.fault.GuestOperationsUnavailable(msg="The guest operations agent could not be contacted.")
    return None


def entered(site: Site, vm: Any, auth: Any) -> tuple[Guest, str]:
    """Return the guest of a running VM, and its user who asks.

    Raises the fault of a guest that cannot be asked, then that of a wrong user or password.
    """
    if (fault := unready(site, vm)) is not None:
        raise fault
    guest = site.guests.of(moid(vm))
    guest.booted(site.world.get(vm, "runtime").bootTime)
    if not isinstance(auth, NamePassword):
        raise vim.fault.InvalidGuestLogin(msg="Only a user name and a password are taken by this guest.")
    if auth.interactiveSession:
        raise unsupported()
    user = guest.users.get(auth.username)
    if user is None or user.password != auth.password:
        raise vim.fault.InvalidGuestLogin(msg="Failed to authenticate with the guest operating system.")
    return guest, str(auth.username)


def is_windows(site: Site, vm: Any) -> bool:
    """Return whether the guest is of Microsoft."""
    return str(site.world.get(vm, "guest").guestFamily) == "windowsGuest"


def denied() -> Any:
    """The fault of a guest's user who may not do this in the guest."""
    return vim.fault.GuestPermissionDenied(msg="The guest operating system denied permission to do this.")


def unsupported() -> Any:
    """The fault of an operation that the guest does not support."""
    return vim.fault.OperationNotSupportedByGuest(msg="The operation is not supported by the guest operating system.")


def refuse_guest_operation(call: Call, vm: Any = None, **_: Any) -> Any:
    """Return the fault of an operation that no guest of the lab does."""
    return None if vm is None else unready(call.site, vm) or unsupported()


for _kind in (type(part) for part in MANAGER_PARTS[vim.vm.guest.GuestOperationsManager].values()):
    refusal(_kind)(refuse_guest_operation)
