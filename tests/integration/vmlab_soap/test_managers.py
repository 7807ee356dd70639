"""Every manager of a real vCenter is there, answers what only reads, and refuses by a proper fault what is not done.

Clients that find one missing crash, because on a real vCenter none of them ever is.
"""

import pytest
from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject

from tests.integration.vmlab_soap.calling import call_with_anything
from vmlab.api import VERSIONS

RECORDED = {
    "alarmManager": ("AlarmManager", "AlarmManager"),
    "authorizationManager": ("AuthorizationManager", "AuthorizationManager"),
    "certificateManager": ("CertificateManager", "certificateManager"),
    "clusterProfileManager": ("ClusterProfileManager", "ClusterProfileManager"),
    "complianceManager": ("ProfileComplianceManager", "MoComplianceManager"),
    "cryptoManager": ("CryptoManagerKmip", "CryptoManager"),
    "customFieldsManager": ("CustomFieldsManager", "CustomFieldsManager"),
    "customizationSpecManager": ("CustomizationSpecManager", "CustomizationSpecManager"),
    "datastoreNamespaceManager": ("DatastoreNamespaceManager", "DatastoreNamespaceManager"),
    "diagnosticManager": ("DiagnosticManager", "DiagMgr"),
    "dvSwitchManager": ("DistributedVirtualSwitchManager", "DVSManager"),
    "eventManager": ("EventManager", "EventManager"),
    "extensionManager": ("ExtensionManager", "ExtensionManager"),
    "failoverClusterConfigurator": ("FailoverClusterConfigurator", "FailoverClusterConfigurator"),
    "failoverClusterManager": ("FailoverClusterManager", "FailoverClusterManager"),
    "fileManager": ("FileManager", "FileManager"),
    "guestOperationsManager": ("GuestOperationsManager", "guestOperationsManager"),
    "healthUpdateManager": ("HealthUpdateManager", "HealthUpdateManager"),
    "hostProfileManager": ("HostProfileManager", "HostProfileManager"),
    "hostSpecManager": ("HostSpecificationManager", "HostSpecificationManager"),
    "ioFilterManager": ("IoFilterManager", "IoFilterManager"),
    "ipPoolManager": ("IpPoolManager", "IpPoolManager"),
    "licenseManager": ("LicenseManager", "LicenseManager"),
    "localizationManager": ("LocalizationManager", "LocalizationManager"),
    "overheadMemoryManager": ("OverheadMemoryManager", "OverheadMemoryManager"),
    "ovfManager": ("OvfManager", "OvfManager"),
    "perfManager": ("PerformanceManager", "PerfMgr"),
    "propertyCollector": ("PropertyCollector", "propertyCollector"),
    "scheduledTaskManager": ("ScheduledTaskManager", "ScheduledTaskManager"),
    "searchIndex": ("SearchIndex", "SearchIndex"),
    "serviceManager": ("ServiceManager", "ServiceMgr"),
    "sessionManager": ("SessionManager", "SessionManager"),
    "setting": ("OptionManager", "VpxSettings"),
    "snmpSystem": ("HostSnmpSystem", "SnmpSystem"),
    "storageResourceManager": ("StorageResourceManager", "StorageResourceManager"),
    "taskManager": ("TaskManager", "TaskManager"),
    "userDirectory": ("UserDirectory", "UserDirectory"),
    "vStorageObjectManager": ("VcenterVStorageObjectManager", "VStorageObjectManager"),
    "viewManager": ("ViewManager", "ViewManager"),
    "virtualDiskManager": ("VirtualDiskManager", "virtualDiskManager"),
    "vmCompatibilityChecker": ("VirtualMachineCompatibilityChecker", "CompatChecker"),
    "vmProvisioningChecker": ("VirtualMachineProvisioningChecker", "ProvChecker"),
}
"""Managers that a recorded vCenter 6.5 named: member of the service content → type and id."""

AT_WORK = {
    "propertyCollector", "viewManager", "sessionManager", "authorizationManager", "searchIndex", "fileManager",
    "virtualDiskManager",
}  # fmt: skip
"""Managers whose work the lab does: their methods have tests of their own, and change the lab if called at random."""

PROPER = (
    vmodl.fault.NotSupported, vmodl.fault.InvalidArgument, vmodl.fault.ManagedObjectNotFound, vim.fault.NotFound,
    vim.fault.InvalidName, vim.fault.InvalidPowerState, vim.fault.GuestOperationsFault,
)  # fmt: skip


@pytest.fixture
def inventory(content, vm_at):
    host = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host[0]
    return [vm_at("Production/web01"), host, host.datastore[0], host.parent, content.rootFolder]


def test_a_vcenter_names_every_manager_as_a_real_one_does(content):
    named = {name: getattr(content, name) for name in RECORDED}

    assert {name: (ref._wsdlName, ref._moId) for name, ref in named.items() if ref} == RECORDED
    assert content.accountManager is None  # only an ESXi host has accounts of its own


def test_no_manager_breaks_off_whatever_is_asked_of_it(content, inventory):
    """NotSupported, or a fault of its own: never SystemError, MethodNotFound, InvalidRequest."""
    guest = content.guestOperationsManager
    parts = [guest.authManager, guest.fileManager, guest.processManager, guest.guestWindowsRegistryManager]
    managers = [getattr(content, name) for name in sorted(RECORDED.keys() - AT_WORK)]
    answers = {}

    for manager in [*managers, *parts, guest.aliasManager, content.licenseManager.licenseAssignmentManager]:
        for kind in type(manager).__mro__:
            for name, info in getattr(kind, "_methodInfo", {}).items():
                if info.version in VERSIONS:
                    answers[f"{kind.__name__}.{name}"] = call_with_anything(manager, name, inventory)

    assert len(answers) > 300
    assert not {name: fault for name, fault in answers.items() if fault is not None and not issubclass(fault, PROPER)}


def test_no_manager_of_a_host_breaks_off_whatever_is_asked_of_it(content, inventory):
    told = inventory[1].configManager
    answers = {}

    for info in vim.host.ConfigManager._GetPropertyList():
        manager = getattr(told, info.name)
        if isinstance(manager, ManagedObject):
            for name, method in type(manager)._methodInfo.items():
                if method.version in VERSIONS:
                    answers[f"{info.name}.{name}"] = call_with_anything(manager, name, inventory)

    assert len(answers) > 200
    assert not {name: fault for name, fault in answers.items() if fault is not None and not issubclass(fault, PROPER)}


def test_every_host_has_all_of_its_own_managers(content, inventory):
    hosts = inventory[3].host
    parts = [info.name for info in vim.host.ConfigManager._GetPropertyList() if issubclass(info.type, ManagedObject)]
    told = [{name: getattr(host.configManager, name) for name in parts} for host in hosts]

    assert all(all(managers.values()) for managers in told)
    assert len({ref._moId for managers in told for ref in managers.values()}) == 2 * len(parts)


def test_a_host_s_managers_tell_what_its_configuration_tells(inventory):
    host = inventory[1]
    parts = host.configManager

    assert [group.spec.name for group in parts.networkSystem.networkInfo.portgroup] == [
        group.spec.name for group in host.config.network.portgroup
    ]
    assert parts.storageSystem.storageDeviceInfo.scsiLun[0].uuid == host.config.storageDevice.scsiLun[0].uuid
    assert parts.serviceSystem.serviceInfo.service[0].key == "TSM-SSH"
    assert parts.dateTimeSystem.dateTimeInfo.timeZone.name == "UTC"
    assert list(parts.datastoreSystem.datastore) == list(host.datastore)
    assert parts.advancedOption.QueryOptions("UserVars.SuppressShellWarning")[0].value == 0
    assert parts.virtualNicManager.QueryNetConfig("management").selectedVnic == ["key-vim.host.VirtualNic-vmk0"]


def test_who_may_not_is_told_so_before_being_told_that_it_is_not_supported(connect):
    content = connect("readonly@vsphere.local").RetrieveContent()
    vm = content.searchIndex.FindByInventoryPath("Lab/vm/Production/web01")

    with pytest.raises(vim.fault.NoPermission) as caught:
        vm.UpgradeVM_Task(None)
    assert caught.value.privilegeId == "VirtualMachine.Config.UpgradeVirtualHardware"
