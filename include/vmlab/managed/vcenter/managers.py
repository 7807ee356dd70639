"""The managers that every vCenter has, whether or not the lab does their work.

All of them exist, because a client takes a vCenter without one for broken. A method without a function is refused
by NotSupported, or by the fault that is registered for the manager's type. No manager has a class: the API's tables
say which managers there are, of which type, and which managers belong to them.
"""

from typing import Any

from vmlab.api import VERSIONS, ManagedObject, vim
from vmlab.managed.site import Site, computed

SPELLED = {
    "propertyCollector": "propertyCollector", "perfManager": "PerfMgr", "serviceManager": "ServiceMgr",
    "diagnosticManager": "DiagMgr", "setting": "VpxSettings", "virtualDiskManager": "virtualDiskManager",
    "vmProvisioningChecker": "ProvChecker", "vmCompatibilityChecker": "CompatChecker", "dvSwitchManager": "DVSManager",
    "complianceManager": "MoComplianceManager", "guestOperationsManager": "guestOperationsManager",
    "certificateManager": "certificateManager", "hostSpecManager": "HostSpecificationManager",
}  # fmt: skip
"""The ids of a real vCenter, if they are not the member's name with a capital letter."""

CONCRETE = {
    vim.vslm.VStorageObjectManagerBase: vim.vslm.vcenter.VStorageObjectManager,
    vim.encryption.CryptoManager: vim.encryption.CryptoManagerKmip,
}
"""Abstract types of the tables, and the types that a vCenter's managers have instead."""

NOT_IN_A_VCENTER = frozenset({"rootFolder", "about", "accountManager", "virtualizationManager"})
"""The members of the service content that are no managers, or that only a host or an old server has."""


def _members(kind: Any) -> dict[str, Any]:
    """Return the members of a type that hold one managed object, in the versions that the lab speaks: name → type."""
    return {
        info.name: info.type
        for info in kind._GetPropertyList()
        if info.version in VERSIONS and not issubclass(info.type, list) and issubclass(info.type, ManagedObject)
    }


MANAGERS: dict[str, Any] = {
    name: CONCRETE.get(kind, kind)(SPELLED.get(name, name[0].upper() + name[1:]))
    for name, kind in _members(vim.ServiceInstanceContent).items()
    if name not in NOT_IN_A_VCENTER
}
"""The managers that the service content names."""

ON_A_HOST = frozenset(
    {
        "accountManager", "authorizationManager", "cryptoManager", "diagnosticManager", "eventManager", "fileManager",
        "guestOperationsManager", "licenseManager", "localizationManager", "ovfManager", "perfManager",
        "propertyCollector", "searchIndex", "sessionManager", "setting", "taskManager", "userDirectory", "viewManager",
        "virtualDiskManager",
    }
)  # fmt: skip
"""The members of the service content that a host without vCenter has, too."""

MANAGER_PARTS: dict[Any, dict[str, Any]] = {
    type(MANAGERS["guestOperationsManager"]): {
        name: kind(f"guestOperations{name[0].upper()}{name[1:]}")
        for name, kind in _members(vim.vm.guest.GuestOperationsManager).items()
    },
    vim.LicenseManager: {"licenseAssignmentManager": vim.LicenseAssignmentManager("LicenseAssignmentManager")},
}
"""The managers that other managers name, by the type of those others."""

HOST_MANAGERS: dict[str, Any] = {
    name: vim.encryption.CryptoManagerHostKMS if name == "cryptoManager" else kind
    for name, kind in _members(vim.host.ConfigManager).items()
}
"""The managers of a host, by their name in its `configManager`."""


def _name_part(kind: Any, name: str) -> None:
    computed(kind, name)(lambda _site, _ref: MANAGER_PARTS[kind][name])


for _kind, _parts in MANAGER_PARTS.items():
    for _name in _parts:
        _name_part(_kind, _name)


def add_managers(site: Site) -> None:
    """Enter the managers of the service content. They are the same at every start."""
    for ref in (*MANAGERS.values(), *(part for parts in MANAGER_PARTS.values() for part in parts.values())):
        site.world.add(ref, lasting=False)


def host_managers(host: Any) -> dict[str, Any]:
    """A host's managers, by name."""
    number = host._moId.rpartition("-")[2]
    return {name: kind(f"{name}-{number}") for name, kind in HOST_MANAGERS.items()}


def host_of_manager(site: Site, manager: Any) -> Any:
    """Return the host that a manager belongs to, or None for one of the vCenter."""
    name, _, number = manager._moId.rpartition("-")
    hosts = (vim.HostSystem(f"host-{number}"), vim.HostSystem(f"ha-{number}"))
    return next((host for host in hosts if name in HOST_MANAGERS and site.world.exists(host)), None)


@computed(vim.HostSystem, "configManager")
def config_manager(_site: Site, ref: Any) -> Any:
    """References to all of a host's managers."""
    return vim.host.ConfigManager(**host_managers(ref))


def add_companions(site: Site, ref: Any) -> None:
    """Enter the browsers and managers that belong to a VM, host, cluster or datastore."""
    if isinstance(ref, (vim.VirtualMachine, vim.ComputeResource)):
        site.world.add(vim.EnvironmentBrowser(f"envbrowser-{ref._moId}"), lasting=False)
    if isinstance(ref, (vim.HostSystem, vim.Datastore)):
        site.world.add(vim.host.DatastoreBrowser(f"datastoreBrowser-{ref._moId}"), lasting=False)
    if isinstance(ref, vim.HostSystem):
        for manager in host_managers(ref).values():
            site.world.add(manager, lasting=False, host=ref)
