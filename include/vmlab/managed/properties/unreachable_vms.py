"""VMs whose configuration a vCenter cannot read, because their host or datastore is lost or their file is broken.

The files stay where they were and the lab keeps the configuration, but `config` and its like read as unset.
"""

import copy
from typing import Any

from vmlab.api import vim
from vmlab.managed.site import Call, Site

LOST_STATES = frozenset({"inaccessible", "orphaned", "invalid"})
_UNREADABLE = frozenset({"config", "guest", "layout", "layoutEx", "network", "rootSnapshot", "snapshot", "storage"})
_ALLOWED = frozenset({"UnregisterVM", "ReloadVirtualMachine"})


def is_lost(site: Site, ref: Any) -> bool:
    """Return whether the configuration of a VM cannot be read now."""
    if not isinstance(ref, vim.VirtualMachine):
        return False
    runtime = site.world.get(ref, "runtime")
    return runtime is not None and runtime.connectionState in LOST_STATES


def hides(site: Site, ref: Any, name: str) -> bool:
    """Return whether a property of an object is unset because nobody can read it."""
    return name in _UNREADABLE and is_lost(site, ref)


def check_reachable(call: Call) -> None:
    """Raise InvalidState for a call to a VM that is not reachable, unless the call takes it out of the inventory."""
    if call.method not in _ALLOWED and is_lost(call.site, call.this):
        state = call.world.get(call.this, "runtime").connectionState
        raise vim.fault.InvalidState(
            msg=f"The operation is not allowed in the current connection state of the virtual machine ({state})."
        )


def set_connection(site: Site, ref: Any, state: str) -> None:
    """Put a VM into a connection state (`connected` brings it back)."""
    runtime = copy.copy(site.world.get(ref, "runtime"))
    runtime.connectionState = state
    site.world.update(ref, runtime=runtime)
