"""States of hosts and clusters: hosts in maintenance, out of reach or locked down, clusters with or without DRS.

A vCenter still knows the VMs of a host that it cannot reach, and can do nothing with them.

A host that enters maintenance mode is evacuated at once; a real one waits for its running VMs to be moved.
"""

import copy
from typing import Any

from vmlab.api import fill, vim, vmodl
from vmlab.managed.site import Call, Site, computed, method, task_method
from vmlab.managed.vcenter import host_of_manager

CONNECTED, MAINTENANCE, DISCONNECTED, NOT_RESPONDING = "connected", "maintenance", "disconnected", "notResponding"
_OUT_OF_REACH = (DISCONNECTED, NOT_RESPONDING)
UNLOCKED = "lockdownDisabled"


def host_state(site: Site, host: Any) -> str:
    """Return the state of a host: connected, in maintenance, disconnected or not responding."""
    states: dict[str, str] = site.world.meta("host_states") or {}
    return states.get(host._moId, CONNECTED)


def is_connected(site: Site, host: Any) -> bool:
    """Return whether a vCenter reaches a host, in maintenance or not."""
    return host_state(site, host) not in _OUT_OF_REACH


def require_connected(site: Site, host: Any) -> None:
    """Raise HostNotConnected for a host that is disconnected, and HostCommunication for one that does not respond."""
    state = host_state(site, host)
    if state == NOT_RESPONDING:
        raise vmodl.fault.HostCommunication(msg="Unable to communicate with the remote host, which does not respond.")
    if state == DISCONNECTED:
        raise vmodl.fault.HostNotConnected(msg="Unable to communicate with the remote host, since it is disconnected.")


def set_host_state(site: Site, host: Any, state: str) -> None:
    """Change the state of a host. Its VMs are `disconnected` while it is out of reach, and keep worse states."""
    world = site.world
    with world.transaction():
        world.set_meta("host_states", {**(world.meta("host_states") or {}), host._moId: state})
        connection = DISCONNECTED if state in _OUT_OF_REACH else CONNECTED
        for vm in world.all(vim.VirtualMachine):
            runtime = copy.deepcopy(world.get(vm, "runtime"))
            if runtime.host == host and runtime.connectionState in (CONNECTED, DISCONNECTED):
                runtime.connectionState = connection
                world.update(vm, runtime=runtime)


def uses_drs(site: Site, cluster: Any) -> bool:
    """Return whether a cluster uses DRS, which places its VMs."""
    switched: dict[str, bool] = site.world.meta("drs") or {}
    return switched.get(cluster._moId, True)


def lockdown_of(site: Site, host: Any) -> str:
    """Return the lockdown mode of a host, as the API spells it."""
    modes: dict[str, str] = site.world.meta("lockdown") or {}
    return modes.get(host._moId, UNLOCKED)


@computed(vim.HostSystem, "runtime")
def host_runtime(site: Site, ref: Any) -> Any:
    """The runtime state of a host: connection, power, maintenance."""
    state = host_state(site, ref)
    return fill(
        vim.host.RuntimeInfo(
            connectionState=state if state in _OUT_OF_REACH else CONNECTED,
            powerState="unknown" if state == NOT_RESPONDING else "poweredOn",
            inMaintenanceMode=state == MAINTENANCE,
            bootTime=site.started,
        )
    )


@task_method(vim.HostSystem, "EnterMaintenanceMode_Task")
def enter_maintenance(call: Call, **_: Any) -> None:
    """Take a host out of use and move its VMs to others."""
    with call.world.transaction():
        _set_state(call, MAINTENANCE)
        _evacuate(call.site, call.this)


@task_method(vim.HostSystem, "ExitMaintenanceMode_Task")
def exit_maintenance(call: Call, timeout: int) -> None:
    """Bring a host back into use."""
    _set_state(call, CONNECTED)


@task_method(vim.HostSystem, "DisconnectHost_Task")
def disconnect(call: Call) -> None:
    """Let vCenter forget how to reach a host; its VMs stay where they are."""
    _set_state(call, DISCONNECTED)


@task_method(vim.HostSystem, "ReconnectHost_Task")
def reconnect(call: Call, **_: Any) -> None:
    """Reach a host again."""
    _set_state(call, CONNECTED)


@computed(vim.host.HostAccessManager, "lockdownMode")
def lockdown_mode(site: Site, ref: Any) -> str:
    """The lockdown mode, as the host's access manager tells it."""
    return lockdown_of(site, host_of_manager(site, ref))


@method(vim.host.HostAccessManager, "ChangeLockdownMode")
def change_lockdown(call: Call, mode: str) -> None:
    """Close a host to everybody but its vCenter, or open it again."""
    host = host_of_manager(call.site, call.this)
    call.world.set_meta("lockdown", {**(call.world.meta("lockdown") or {}), host._moId: str(mode)})


@task_method(vim.ComputeResource, "ReconfigureComputeResource_Task")
def reconfigure(call: Call, spec: Any, modify: bool) -> None:
    """Switch DRS of a cluster on or off; the rest is not supported."""
    drs = getattr(spec, "drsConfig", None)
    if not isinstance(call.this, vim.ClusterComputeResource) or drs is None or drs.enabled is None:
        raise vmodl.fault.NotSupported(msg="vmlab changes nothing of a cluster but drsConfig.enabled")
    with call.world.transaction():
        call.world.set_meta("drs", {**(call.world.meta("drs") or {}), call.this._moId: bool(drs.enabled)})


def _set_state(call: Call, state: str) -> None:
    set_host_state(call.site, call.this, state)


def _evacuate(site: Site, host: Any) -> None:
    others = [
        other
        for other in site.world.all(vim.HostSystem)
        if host_state(site, other) == CONNECTED and site.world.get(other, "parent") == site.world.get(host, "parent")
    ]
    for vm in site.world.all(vim.VirtualMachine):
        found = site.world.get(vm, "runtime")
        if found.host == host and others:
            moved = copy.deepcopy(found)
            moved.host = others[0]
            site.world.update(vm, runtime=moved)
