"""Scripts that people write with pyVmomi to look at a vCenter: lists, searches, cluster, host and datastore facts.

Written after the kinds of the community's samples, and of what Ansible's modules read.
"""

import pytest
from pyVmomi import vim, vmodl

PC = vmodl.query.PropertyCollector


@pytest.fixture
def app01(vm_at):
    return vm_at("Production/app01")


@pytest.fixture
def cluster(content):
    return content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")


def collected(content, spec):
    """All objects of a filter, page by page: {object: {path: value}}."""
    found = {}
    page = content.propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=2))
    while page is not None:
        found |= {one.obj: {prop.name: prop.val for prop in one.propSet} for one in page.objects}
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    return found


def in_view(content, kinds):
    """The start of a filter: everything of some kinds, by a container view."""
    view = content.viewManager.CreateContainerView(content.rootFolder, kinds, True)
    step = PC.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
    return view, [PC.ObjectSpec(obj=view, skip=True, selectSet=[step])]


def by_steps(*steps):
    """Selections that may follow each other in any order, as scripts wrote them before there were views."""
    names = [PC.SelectionSpec(name=name) for name, _, _ in steps]
    return [PC.TraversalSpec(name=name, type=kind, path=path, selectSet=names) for name, kind, path in steps]


def test_vms_are_listed_by_a_view_with_one_property_spec_for_each_type(content):
    view, start = in_view(content, [vim.VirtualMachine, vim.HostSystem])
    specs = [
        PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState", "summary.config.memorySizeMB"]),
        PC.PropertySpec(type=vim.HostSystem, pathSet=["name", "summary.hardware.memorySize"]),
    ]
    found = collected(content, PC.FilterSpec(objectSet=start, propSet=specs))
    view.DestroyView()

    named = {props["name"]: props for props in found.values()}
    assert named["app01"] == {
        "name": "app01", "runtime.powerState": "poweredOn", "summary.config.memorySizeMB": 4096,
    }  # fmt: skip
    assert named["esx01.localhost"]["summary.hardware.memorySize"] == 64 << 30
    assert "runtime.powerState" not in named["esx01.localhost"]


def test_vms_are_listed_by_explicit_traversal_from_the_root(content):
    steps = by_steps(
        ("folders", vim.Folder, "childEntity"),
        ("vmFolder", vim.Datacenter, "vmFolder"),
        ("hostFolder", vim.Datacenter, "hostFolder"),
        ("pool", vim.ComputeResource, "resourcePool"),
        ("pools", vim.ResourcePool, "resourcePool"),
        ("vms", vim.ResourcePool, "vm"),
    )
    start = PC.ObjectSpec(obj=content.rootFolder, skip=True, selectSet=steps)
    names = PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])
    walked = collected(content, PC.FilterSpec(objectSet=[start], propSet=[names]))
    view, start = in_view(content, [vim.VirtualMachine])
    viewed = collected(content, PC.FilterSpec(objectSet=start, propSet=[names]))
    view.DestroyView()

    assert walked == viewed
    assert sorted(props["name"] for props in walked.values()).count("twin") == 2


def test_a_path_that_only_some_types_have_cannot_be_asked_of_all(content):
    view, start = in_view(content, [vim.ManagedEntity])
    spec = PC.FilterSpec(
        objectSet=start, propSet=[PC.PropertySpec(type=vim.ManagedEntity, pathSet=["name", "runtime.powerState"])]
    )
    with pytest.raises(vmodl.query.InvalidProperty) as caught:
        content.propertyCollector.RetrieveContents([spec])
    view.DestroyView()

    assert caught.value.name == "runtime.powerState"


def test_the_old_method_answers_the_same(content, app01):
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=app01)],
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["guest.net", "config.hardware.numCPU"])],
    )
    (found,) = content.propertyCollector.RetrieveProperties([spec])

    assert {prop.name: prop.val for prop in found.propSet}["config.hardware.numCPU"] == app01.config.hardware.numCPU


def test_folders_are_walked_by_their_children(content):
    def names(ref, path=""):
        for child in getattr(ref, "childEntity", []):
            yield f"{path}{child.name}"
            yield from names(child, f"{path}{child.name}/")

    (center,) = content.rootFolder.childEntity
    assert {"Production/app01", "Test/twin", "old01", "debian-template"} <= set(names(center.vmFolder))


@pytest.mark.parametrize("look", [
    lambda index, center, vm: index.FindByUuid(center, vm.config.uuid, True),
    lambda index, center, vm: index.FindByUuid(None, vm.config.instanceUuid, True, True),
    lambda index, center, vm: index.FindByUuid(None, vm.config.uuid.upper(), True, False),
    lambda index, center, vm: index.FindByIp(center, vm.guest.ipAddress, True),
    lambda index, center, vm: index.FindByDnsName(None, vm.guest.hostName, True),
    lambda index, center, vm: index.FindByInventoryPath("/Lab/vm/Production/app01"),
    lambda index, center, vm: index.FindByDatastorePath(center, vm.config.files.vmPathName),
    lambda index, center, vm: index.FindChild(vm.parent, vm.name),
    lambda index, center, vm: index.FindAllByUuid(None, vm.config.uuid, True)[0],
])  # fmt: skip
def test_a_vm_is_found_by_everything_that_names_it(content, app01, look):
    assert look(content.searchIndex, content.rootFolder.childEntity[0], app01) == app01


@pytest.mark.parametrize("look", [
    lambda index: index.FindByUuid(None, "00000000-0000-0000-0000-000000000000", True),
    lambda index: index.FindByIp(None, "192.0.2.1", True),
    lambda index: index.FindByDnsName(None, "nobody.example", True),
    lambda index: index.FindByInventoryPath("Lab/vm/nothing/at/all"),
])  # fmt: skip
def test_nothing_is_found_where_nothing_is(content, look):
    assert look(content.searchIndex) is None


def test_a_cluster_tells_its_size_and_its_settings(cluster):
    assert (cluster.summary.numHosts, cluster.summary.numEffectiveHosts) == (2, 2)
    assert cluster.summary.totalCpu > 0
    assert isinstance(cluster.configurationEx, vim.cluster.ConfigInfoEx)
    assert (cluster.configurationEx.drsConfig.enabled, cluster.configurationEx.dasConfig.enabled) == (True, False)
    assert cluster.configurationEx.drsConfig.defaultVmBehavior == "fullyAutomated"
    assert list(cluster.configurationEx.rule) == []
    assert cluster.configuration.drsConfig.enabled
    assert isinstance(cluster.summaryEx, vim.ClusterComputeResource.Summary)


def test_a_host_tells_what_ansible_gathers_of_it(cluster):
    host = cluster.host[0]
    hardware, summary, config = host.hardware, host.summary, host.config

    assert (hardware.cpuInfo.numCpuCores, hardware.memorySize, hardware.systemInfo.vendor) == (8, 64 << 30, "vmlab")
    assert hardware.biosInfo is None or hardware.biosInfo.biosVersion is not None
    assert (summary.config.product.version, summary.quickStats.uptime) == (config.product.version, 86400)
    assert (host.runtime.connectionState, host.runtime.inMaintenanceMode) == ("connected", False)
    assert config.network.vnic[0].spec.ip.ipAddress == "127.0.0.1"
    assert config.network.pnic[0].linkSpeed.speedMb == 10000
    assert {group.spec.name for group in config.network.portgroup} >= {"VM Network", "Backup Network"}
    assert [service.key for service in config.service.service if service.running] == ["ntpd"]
    assert config.storageDevice.hostBusAdapter[0].device == "vmhba64"
    assert config.lockdownMode == "lockdownDisabled"
    assert config.dateTimeInfo.ntpConfig.server
    assert (host.capability.storageVMotionSupported, host.capability.nestedHVSupported) == (True, False)
    assert {option.key for option in host.configManager.advancedOption.setting} >= {"UserVars.SuppressShellWarning"}
    assert host.configManager.firewallSystem.firewallInfo.ruleset[0].allowedHosts.allIp
    assert host.configManager.virtualNicManager.info.netConfig
    assert host.configManager.vsanSystem.config.enabled in (None, False)


def test_a_datastore_tells_space_hosts_vms_and_volume(content, app01):
    (store,) = app01.datastore
    summary = store.summary

    assert 0 < summary.freeSpace <= summary.capacity
    assert (summary.accessible, summary.type, summary.maintenanceMode) == (True, "VMFS", "normal")
    assert (store.info.vmfs.name, store.info.vmfs.majorVersion) == (summary.name, 6)
    assert store.info.vmfs.extent[0].diskName.startswith("naa.")
    assert {mount.key.name for mount in store.host} == {"esx01.localhost", "esx02.localhost"}
    assert app01 in store.vm
    assert summary.url == store.info.url


def test_a_guest_tells_what_ansible_gathers_of_it(app01):
    guest = app01.guest

    assert (guest.toolsRunningStatus, guest.toolsStatus) == ("guestToolsRunning", "toolsOk")
    assert guest.toolsVersionStatus2 == "guestToolsCurrent"
    assert (guest.guestFamily, guest.guestId) == ("linuxGuest", "debian12_64Guest")
    assert guest.net[0].ipAddress[0] == guest.ipAddress
    assert guest.net[0].deviceConfigId in {device.key for device in app01.config.hardware.device}
    assert (app01.summary.guest.hostName, app01.guestHeartbeatStatus) == (guest.hostName, "green")
    assert guest.guestOperationsReady
    (address,) = guest.net[0].ipConfig.ipAddress
    assert (address.ipAddress, address.prefixLength) == (guest.ipAddress, 24)
    (card,) = [device for device in app01.config.hardware.device if device.key == guest.net[0].deviceConfigId]
    assert guest.net[0].macAddress == card.macAddress
    assert f"{guest.ipStack[0].dnsConfig.hostName}.{guest.ipStack[0].dnsConfig.domainName}" == guest.hostName
    assert 0 < guest.disk[0].freeSpace < guest.disk[0].capacity


def test_a_machine_tells_what_ansible_gathers_of_it(app01):
    assert app01.capability.changeTrackingSupported
    assert app01.resourceConfig.memoryAllocation.shares.level == "normal"
    assert {file.type for file in app01.layoutEx.file} >= {"config", "diskDescriptor", "diskExtent"}
    assert app01.storage.perDatastoreUsage[0].committed > 0
    assert app01.resourcePool.owner.name == "Cluster1"
    assert (app01.parent.name, app01.runtime.host.parent.name) == ("Production", "Cluster1")
    assert (list(app01.customValue), list(app01.declaredAlarmState), list(app01.configIssue)) == ([], [], [])


def test_a_machine_tells_how_it_boots_and_what_its_tools_may_do(app01):
    boot, tools = app01.config.bootOptions, app01.config.tools

    assert (app01.config.firmware, boot.efiSecureBootEnabled, boot.enterBIOSSetup) == ("bios", False, False)
    assert (boot.bootDelay, boot.bootRetryEnabled, list(boot.bootOrder)) == (0, False, [])
    assert (tools.toolsUpgradePolicy, tools.syncTimeWithHost, tools.afterPowerOn) == ("manual", False, True)
    assert app01.config.flags.enableLogging
    assert len(app01.config.extraConfig) >= 50
    assert (app01.config.cpuAllocation.limit, app01.config.memoryAllocation.shares.level) == (-1, "normal")


def test_the_managers_of_a_host_tell_what_ansible_asks_of_them(cluster):
    parts = cluster.host[0].configManager

    assert parts.powerSystem.info.currentPolicy.shortName == "dynamic"
    assert list(parts.imageConfigManager.FetchSoftwarePackages()) == []
    assert list(parts.kernelModuleSystem.QueryModules()) == []
    assert list(parts.hostAccessManager.QueryLockdownExceptions()) == []
    assert parts.hostAccessManager.lockdownMode == "lockdownDisabled"
    assert parts.authenticationManager.info.authConfig
    assert parts.autoStartManager.config.defaults.startDelay == 120
    assert parts.graphicsManager.graphicsConfig is not None
    assert parts.dateTimeSystem.QueryDateTime() is not None
    assert list(parts.iscsiManager.QueryBoundVnics("vmhba64")) == []
    assert list(parts.userDirectory.RetrieveUserGroups(None, "", None, None, False, True, True)) != []


def test_every_session_is_listed_with_ones_own(connect):
    mine, other = connect().RetrieveContent(), connect("backup@vsphere.local").RetrieveContent()
    key = other.sessionManager.currentSession.key

    listed = {session.key: session for session in mine.sessionManager.sessionList}
    assert mine.sessionManager.currentSession.key in listed
    assert listed[key].userName == other.sessionManager.currentSession.userName
    assert listed[key].loginTime <= listed[key].lastActiveTime


def test_roles_and_privileges_are_listed(content):
    roles = {role.name: role for role in content.authorizationManager.roleList}

    assert {"Admin", "ReadOnly", "NoAccess"} <= roles.keys()
    assert "System.Read" in roles["ReadOnly"].privilege


def test_users_are_found_by_name(content):
    found = content.userDirectory.RetrieveUserGroups(None, "back", None, None, False, True, False)

    assert [user.principal for user in found] == ["backup"]
    assert list(content.userDirectory.RetrieveUserGroups(None, "back", None, None, True, True, False)) == []


def test_licences_extensions_and_settings_are_listed(content):
    assert content.licenseManager.licenses[0].name == "Evaluation Mode"
    assigned = content.licenseManager.licenseAssignmentManager.QueryAssignedLicenses(content.about.instanceUuid)
    assert assigned[0].assignedLicense.licenseKey == content.licenseManager.licenses[0].licenseKey
    assert content.extensionManager.FindExtension("com.vmware.vim.sms").key in {
        extension.key for extension in content.extensionManager.extensionList
    }
    assert content.extensionManager.FindExtension("com.example.none") is None
    assert content.setting.QueryOptions("VirtualCenter.InstanceName")[0].value == "localhost"


def test_no_statistics_are_kept(content, app01):
    assert list(content.perfManager.perfCounter) == []
    assert content.perfManager.QueryPerfProviderSummary(app01).currentSupported
    assert list(content.perfManager.QueryAvailablePerfMetric(app01)) == []
    assert list(content.perfManager.QueryPerf([vim.PerformanceManager.QuerySpec(entity=app01)])) == []
    with pytest.raises(vmodl.fault.InvalidArgument):
        content.perfManager.QueryPerfCounter([1])


def test_a_resource_pool_tells_its_vms_and_its_owner(cluster, app01):
    pool = cluster.resourcePool

    assert pool.owner == cluster
    assert app01 in pool.vm
    assert pool.summary.config.cpuAllocation.limit == -1
    assert [child.name for child in pool.resourcePool] == ["Production"]
