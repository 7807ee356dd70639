"""A host's whole configuration, and the host's own managers, which tell the same values one by one."""

from typing import Any

from vmlab.api import VERSIONS, DataObject, default_for, fill, vim
from vmlab.managed.hosts.compute import host_about
from vmlab.managed.hosts.host_states import lockdown_of
from vmlab.managed.properties import read_property
from vmlab.managed.site import Call, Site, computed, method
from vmlab.managed.storage import host_luns, mount_info, vmfs_volume
from vmlab.managed.vcenter import HOST_MANAGERS, host_of_manager

ConfigInfo = vim.host.ConfigInfo
KEY = "key-vim.host."
_BALANCED = vim.host.PowerSystem.PowerPolicy(
    key=2, name="PowerPolicy.dynamic.name", shortName="dynamic", description="PowerPolicy.dynamic.description"
)


@computed(vim.HostSystem, "config")
def host_config(site: Site, ref: Any) -> Any:
    """The configuration, with every member that a real host has. Those that the lab does not need are neutral."""
    config = ConfigInfo(
        host=ref,
        product=host_about(site, ref),
        network=_network(site, ref),
        storageDevice=_storage(site),
        fileSystemVolume=_volumes(site),
        service=vim.host.ServiceInfo(service=[_service("TSM-SSH", "SSH", False), _service("ntpd", "NTP Daemon", True)]),
        firewall=_firewall(),
        dateTimeInfo=_clock(),
        autoStart=_auto_start(),
        virtualNicManagerInfo=_nic_uses(site, ref),
        option=[
            vim.option.OptionValue(key="Config.HostAgent.log.level", value="info"),
            vim.option.OptionValue(key="UserVars.SuppressShellWarning", value=0),
        ],
        powerSystemInfo=vim.host.PowerSystem.Info(currentPolicy=_BALANCED),
        powerSystemCapability=vim.host.PowerSystem.Capability(availablePolicy=[_BALANCED]),
        lockdownMode=lockdown_of(site, ref),
        adminDisabled=False,
        wakeOnLanCapable=False,
    )
    for info in ConfigInfo._GetPropertyList():
        if info.version in VERSIONS and getattr(config, info.name) is None and issubclass(info.type, DataObject):
            setattr(config, info.name, default_for(info.type))
    return fill(config)


_TOLD = {
    info.type: info.name
    for info in ConfigInfo._GetPropertyList()
    if issubclass(info.type, DataObject) or (issubclass(info.type, list) and issubclass(info.type.Item, DataObject))
}
"""The members of the configuration by their type. No two have the same, so a manager's member is found by its type."""


def _tell(kind: Any, name: str, member: str) -> None:
    """Let a manager of a host tell a member of that host's configuration as its own property."""
    computed(kind, name)(lambda site, ref: getattr(read_property(site, host_of_manager(site, ref), "config"), member))


for _kind in HOST_MANAGERS.values():
    for _info in _kind._GetPropertyList():
        if _info.type in _TOLD and not issubclass(_kind, vim.option.OptionManager) and _info.name != "dynamicProperty":
            _tell(_kind, _info.name, _TOLD[_info.type])


@computed(vim.host.DatastoreSystem, "datastore")
def datastore_system_datastore(site: Site, ref: Any) -> list[Any]:
    """The datastores of the host."""
    stores: list[Any] = read_property(site, host_of_manager(site, ref), "datastore")
    return stores


@method(vim.host.VirtualNicManager, "QueryNetConfig")
def query_net_config(call: Call, nicType: str) -> Any:
    """Return the kernel's network adapters that serve one purpose."""
    told = _nic_uses(call.site, host_of_manager(call.site, call.this)).netConfig
    return next((one for one in told if one.nicType == nicType), None)


@method(vim.host.DateTimeSystem, "QueryDateTime")
def query_date_time(call: Call) -> Any:
    """The host's clock, which is the vCenter's."""
    return read_property(call.site, vim.ServiceInstance("ServiceInstance"), "serverClock")


@method(vim.host.FirewallSystem, "RefreshFirewall")
@method(vim.host.ServiceSystem, "RefreshServices")
@method(vim.host.StorageSystem, "RefreshStorageSystem")
@method(vim.host.StorageSystem, "RescanAllHba")
@method(vim.host.StorageSystem, "RescanVmfs")
@method(vim.host.NetworkSystem, "RefreshNetworkSystem")
@method(vim.host.DateTimeSystem, "RefreshDateTimeSystem")
def refresh(call: Call) -> None:
    """Do nothing, because nothing is ever stale."""


def _network(site: Site, ref: Any) -> Any:
    names = [
        str(site.world.get(net, "name")) for net in read_property(site, ref, "network") if type(net) is vim.Network
    ]
    names.append("Management Network")
    switch = vim.host.VirtualSwitch(
        name="vSwitch0", key=f"{KEY}VirtualSwitch-vSwitch0", numPorts=2560, numPortsAvailable=2550, mtu=1500,
        portgroup=[f"{KEY}PortGroup-{name}" for name in names], pnic=[f"{KEY}PhysicalNic-vmnic0"],
        spec=vim.host.VirtualSwitch.Specification(numPorts=128),
    )  # fmt: skip
    groups = [
        vim.host.PortGroup(
            key=f"{KEY}PortGroup-{name}", vswitch=switch.key,
            spec=vim.host.PortGroup.Specification(
                name=name, vlanId=0, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
            ),
            computedPolicy=vim.host.NetworkPolicy(),
        )
        for name in names
    ]  # fmt: skip
    tail = ref._moId.rpartition("-")[2]
    number = int(tail) % 256 if tail.isdecimal() else 0  # a host without vCenter is `ha-host`
    nic = vim.host.PhysicalNic(
        key=f"{KEY}PhysicalNic-vmnic0", device="vmnic0", pci="0000:02:00.0", driver="vmxnet3",
        mac=f"00:50:56:00:01:{number:02x}", wakeOnLanSupported=False,
        linkSpeed=vim.host.PhysicalNic.LinkSpeedDuplex(speedMb=10000, duplex=True),
    )  # fmt: skip
    dns = vim.host.DnsConfig(dhcp=False, hostName=str(site.world.get(ref, "name")), domainName="", address=[])
    return vim.host.NetworkInfo(
        vswitch=[switch], portgroup=groups, pnic=[nic], vnic=[_kernel_nic()], dnsConfig=dns, ipV6Enabled=True,
        ipRouteConfig=vim.host.IpRouteConfig(defaultGateway="127.0.0.1"),
    )  # fmt: skip


def _kernel_nic() -> Any:
    address = vim.host.IpConfig(dhcp=False, ipAddress="127.0.0.1", subnetMask="255.0.0.0")
    return vim.host.VirtualNic(
        device="vmk0",
        key=f"{KEY}VirtualNic-vmk0",
        portgroup="Management Network",
        spec=vim.host.VirtualNic.Specification(ip=address, mac="00:50:56:00:00:01"),
    )


def _nic_uses(_site: Site, _ref: Any) -> Any:
    uses = ("management", "vmotion", "faultToleranceLogging", "vSphereProvisioning", "vSphereReplication", "vsan")
    return vim.host.VirtualNicManagerInfo(
        netConfig=[
            vim.host.VirtualNicManager.NetConfig(
                nicType=use,
                multiSelectAllowed=True,
                candidateVnic=[_kernel_nic()],
                selectedVnic=[f"{KEY}VirtualNic-vmk0"] if use == "management" else [],
            )
            for use in uses
        ]
    )


def _storage(site: Site) -> Any:
    adapter = vim.host.InternetScsiHba(
        key=f"{KEY}InternetScsiHba-vmhba64", device="vmhba64", bus=0, status="online", model="iSCSI Software Adapter",
        driver="iscsi_vmk", pci="unknown", isSoftwareBased=True, iScsiName="iqn.1998-01.com.vmware:vmlab",
    )  # fmt: skip
    luns = host_luns(site)
    targets = [
        vim.host.ScsiTopology.Target(
            key=f"{KEY}ScsiTopology.Target-vmhba64:0:{number}", target=number,
            lun=[vim.host.ScsiTopology.Lun(key=f"{KEY}ScsiTopology.Lun-{lun.uuid}", lun=0, scsiLun=lun.key)],
        )
        for number, lun in enumerate(luns)
    ]  # fmt: skip
    topology = vim.host.ScsiTopology(
        adapter=[
            vim.host.ScsiTopology.Interface(
                key=f"{KEY}ScsiTopology.Interface-vmhba64", adapter=adapter.key, target=targets
            )
        ]
    )
    return vim.host.StorageDeviceInfo(
        hostBusAdapter=[adapter], scsiLun=luns, scsiTopology=topology, softwareInternetScsiEnabled=True,
        multipathInfo=vim.host.MultipathInfo(lun=[]),
    )  # fmt: skip


def _volumes(site: Site) -> Any:
    mounts = [
        vim.host.FileSystemMountInfo(mountInfo=mount_info(site, store), volume=vmfs_volume(site, store))
        for store in site.world.all(vim.Datastore)
    ]
    return vim.host.FileSystemVolumeInfo(volumeTypeList=["VMFS", "NFS", "VFFS"], mountInfo=mounts)


def _service(key: str, label: str, running: bool) -> Any:
    return vim.host.Service(
        key=key, label=label, required=False, uninstallable=False, running=running,
        policy="on" if running else "off",
    )  # fmt: skip


def _firewall() -> Any:
    rule = vim.host.Ruleset.Rule(port=902, direction="inbound", portType="dst", protocol="tcp")
    allowed = vim.host.Ruleset.IpList(allIp=True)
    return vim.host.FirewallInfo(
        defaultPolicy=vim.host.FirewallInfo.DefaultPolicy(incomingBlocked=True, outgoingBlocked=True),
        ruleset=[
            vim.host.Ruleset(key="NFC", label="NFC", required=False, rule=[rule], enabled=True, allowedHosts=allowed)
        ],
    )


def _clock() -> Any:
    zone = vim.host.DateTimeSystem.TimeZone(key="UTC", name="UTC", description="UTC", gmtOffset=0)
    return vim.host.DateTimeInfo(
        timeZone=zone, systemClockProtocol="ntp", ntpConfig=vim.host.NtpConfig(server=["pool.ntp.org"]), enabled=True
    )


def _auto_start() -> Any:
    defaults = vim.host.AutoStartManager.SystemDefaults(
        enabled=False, startDelay=120, stopDelay=120, waitForHeartbeat=False, stopAction="PowerOff"
    )
    return vim.host.AutoStartManager.Config(defaults=defaults)
