"""Methods that clients have switched off on a VM, each client under a name of its own.

VDDK's PrepareForAccess switches RelocateVM_Task off. Only EndAccess with the same name takes this back: neither the end
of the client's process or session nor a restart of the vCenter does.
"""

from typing import Any

from vmlab.api import moid, vim
from vmlab.managed.site import Site, computed

RELOCATE = "RelocateVM_Task"
_META = "disabled_methods"
_HIDDEN = "hides_disabled_methods"
_BY_POWER = {
    "poweredOn": (vim.VirtualMachine.PowerOn, vim.VirtualMachine.MarkAsTemplate, vim.VirtualMachine.Unregister),
    "poweredOff": (vim.VirtualMachine.PowerOff, vim.VirtualMachine.Reset, vim.VirtualMachine.Suspend),
    "suspended": (vim.VirtualMachine.Reset, vim.VirtualMachine.Suspend, vim.VirtualMachine.MarkAsTemplate),
}
"""Some of the methods that a power state rules out. They stand in the same list."""


def relocation_blockers(site: Site, vm: Any) -> list[str]:
    """Return the names under which RelocateVM_Task is switched off on a VM, oldest first."""
    return list((site.world.meta(_META) or {}).get(moid(vm), ()))


def block_relocation(site: Site, vm: Any, source: str) -> None:
    """Switch RelocateVM_Task off. Raises MethodAlreadyDisabledFault if this source has done so already."""
    with site.world.transaction():
        held = relocation_blockers(site, vm)
        if source in held:
            message = f"{RELOCATE} of {moid(vm)} is already disabled by {source}"
            raise vim.fault.MethodAlreadyDisabledFault(sourceId=source, msg=message)
        _set(site, vm, [*held, source])


def unblock_relocation(site: Site, vm: Any, source: str) -> bool:
    """Take back what a source has switched off. Returns whether it had switched anything off."""
    with site.world.transaction():
        held = relocation_blockers(site, vm)
        _set(site, vm, [name for name in held if name != source])
        return source in held


def forget_blockers(site: Site, vm: Any) -> None:
    """Forget what was switched off on a VM, because it leaves the inventory."""
    _set(site, vm, [])


def require_enabled(site: Site, ref: Any, method: str) -> None:
    """Raise MethodDisabled if somebody has switched the method off on this object."""
    if method == RELOCATE and (held := relocation_blockers(site, ref)):
        raise vim.fault.MethodDisabled(source=held[0], msg=f"The method is disabled by '{held[0]}'")


def hide_disabled(site: Site, *, hidden: bool) -> None:
    """Hide from the property what clients switched off, as a slow vCenter does until it has noticed."""
    site.world.set_meta(_HIDDEN, hidden)


@computed(vim.VirtualMachine, "disabledMethod")
def disabled_method(site: Site, ref: Any) -> list[Any]:
    """The methods that cannot be called now: some because of the power state, and those that clients switched off."""
    by_state = _BY_POWER.get(str(site.world.get(ref, "runtime").powerState), ())
    switched_off = bool(relocation_blockers(site, ref)) and not site.world.meta(_HIDDEN)
    return [*by_state, *([vim.VirtualMachine.Relocate] if switched_off else [])]


def _set(site: Site, vm: Any, names: list[str]) -> None:
    held = dict(site.world.meta(_META) or {})
    if names:
        held[moid(vm)] = names
    elif held.pop(moid(vm), None) is None:
        return
    site.world.set_meta(_META, held)
