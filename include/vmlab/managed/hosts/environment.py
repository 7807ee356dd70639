"""The environment browser: the LUNs, datastores, networks and hardware versions that a VM could be given.

A browser belongs to a VM, a cluster or a lone host. It answers for all hosts of that cluster, or for one of them.
"""

from collections.abc import Callable
from typing import Any

from vmlab.api import fill, vim, vmodl
from vmlab.managed.hosts.compute import CORES, MEMORY, NUMA_NODES, THREADS
from vmlab.managed.hosts.hardware_versions import version_options
from vmlab.managed.machine import Device, default_devices, guest_descriptors
from vmlab.managed.properties import read_property
from vmlab.managed.site import Call, Site, computed, method
from vmlab.managed.storage import datastore_capability, datastore_summary, target_luns

Browser = vim.EnvironmentBrowser

_ADDABLE = (
    "VirtualDisk", "VirtualCdrom", "VirtualVmxnet3", "VirtualE1000e", "ParaVirtualSCSIController",
    "VirtualLsiLogicController", "VirtualLsiLogicSASController", "VirtualAHCIController", "VirtualNVMEController",
)  # fmt: skip
"""The devices that the browser offers for a VM."""


@method(Browser, "QueryConfigTarget")
def query_config_target(call: Call, host: Any) -> Any:
    """Datastores, networks and LUNs. A raw device mapping has to use the LUN names and ids of this answer."""
    site, world = call.site, call.world
    hosts = _hosts(call, host)
    stores = [
        vim.vm.DatastoreInfo(
            name=world.get(ref, "name"), datastore=datastore_summary(site, ref),
            capability=datastore_capability(site, ref), maxFileSize=64 << 40, mode="readWrite",
        )
        for ref in _reached(site, hosts, "datastore")
    ]  # fmt: skip
    networks = [
        vim.vm.NetworkInfo(
            name=world.get(ref, "name"),
            network=vim.Network.Summary(network=ref, name=world.get(ref, "name"), accessible=True),
        )
        for ref in _reached(site, hosts, "network")
        if type(ref) is vim.Network
    ]
    target = vim.vm.ConfigTarget(
        numCpus=THREADS, numCpuCores=CORES, numNumaNodes=NUMA_NODES, maxMemMBOptimalPerf=MEMORY >> 20,
        supportedMaxMemMB=MEMORY >> 20, maxCpusPerHost=THREADS, smcPresent=False,
        datastore=stores, network=networks, scsiDisk=target_luns(site, hosts),
    )  # fmt: skip
    return fill(target)


@method(Browser, "QueryConfigOption")
def query_config_option(call: Call, key: str | None, host: Any) -> Any:
    """The limits of VMs of a hardware version, or of the default version. Nothing for an unknown version."""
    return _option(call, key, host)


@method(Browser, "QueryConfigOptionEx")
def query_config_option_ex(call: Call, spec: Any) -> Any:
    """Answer QueryConfigOption, with only those guest systems that the spec names, if any of them is known."""
    option = _option(call, spec.key if spec else None, spec.host if spec else None)
    wanted = [guest for guest in option.guestOSDescriptor if guest.id in spec.guestId] if option and spec else []
    if wanted:
        option.guestOSDescriptor = wanted
    return option


@method(Browser, "QueryConfigOptionDescriptor")
def query_config_option_descriptor(call: Call) -> list[Any]:
    """The hardware versions on offer, each with the hosts that run it."""
    return version_options(call.site, _hosts(call, None))


@method(Browser, "QueryTargetCapabilities")
def query_target_capabilities(call: Call, host: Any) -> Any:
    """The abilities of a host, or of the cluster's first host if none is named."""
    return read_property(call.site, _hosts(call, host)[0], "capability")


@computed(Browser, "datastoreBrowser")
def datastore_browser(site: Site, _: Any) -> Any:
    """The browser of the first host."""
    hosts = site.world.all(vim.HostSystem)
    return vim.host.DatastoreBrowser(f"datastoreBrowser-{hosts[0]._moId}")


def _hosts(call: Call, host: Any) -> list[Any]:
    """The hosts a browser speaks of: the one asked for, or all of its VM's or its own cluster."""
    owner = call.world.entry(vim.ManagedEntity(call.this._moId.removeprefix("envbrowser-"))).ref
    if isinstance(owner, vim.VirtualMachine):
        owner = call.world.get(call.world.get(owner, "runtime").host, "parent")
    every: list[Any] = read_property(call.site, owner, "host")
    if host is None:
        return every
    if call.world.entry(host).ref not in every:
        message = f"{call.world.get(host, 'name')} is not a host of {call.world.get(owner, 'name')}"
        raise vmodl.fault.InvalidArgument(invalidProperty="host", msg=message)
    return [host]


def _reached(site: Site, hosts: list[Any], name: str) -> list[Any]:
    """Return the datastores or networks that any of the hosts has, each once."""
    found = {ref._moId: ref for host in hosts for ref in read_property(site, host, name)}
    return list(found.values())


def _option(call: Call, key: str | None, host: Any) -> Any:
    offered: list[Any] = version_options(call.site, _hosts(call, host))
    named: Callable[[Any], bool] = (lambda one: one.key == key) if key else (lambda one: one.defaultConfigOption)
    found = next(filter(named, offered), None)
    if found is None:
        return None
    return fill(
        vim.vm.ConfigOption(
            version=found.key,
            description=found.description,
            guestOSDescriptor=guest_descriptors(),
            guestOSDefaultIndex=0,
            hardwareOptions=_hardware(int(found.key.removeprefix("vmx-"))),
            datastore=vim.vm.DatastoreOption(unsupportedVolumes=[]),
            defaultDevice=default_devices(),
            supportedMonitorType=["release"],
        )
    )


def _hardware(version: int) -> Any:
    """The CPUs, memory and controllers that a version allows on these hosts."""
    cores = vim.option.IntOption(defaultValue=1, min=1, max=CORES, valueIsReadonly=False)
    memory = vim.option.LongOption(defaultValue=1024, min=4, max=MEMORY >> 20, valueIsReadonly=False)
    return vim.vm.VirtualHardwareOption(
        hwVersion=version,
        virtualDeviceOption=[fill(getattr(Device, f"{name}Option")(type=getattr(Device, name))) for name in _ADDABLE],
        deviceListReadonly=False,
        numCPU=list(range(1, THREADS + 1)),
        numCpuReadonly=False,
        numCoresPerSocket=cores,
        memoryMB=memory,
        numPCIControllers=_exactly(1),
        numIDEControllers=_exactly(2),
        numUSBControllers=_upto(1),
        numUSBXHCIControllers=_upto(1),
        numSIOControllers=_exactly(1),
        numPS2Controllers=_exactly(1),
    )


def _upto(most: int) -> Any:
    return vim.option.IntOption(defaultValue=0, min=0, max=most, valueIsReadonly=False)


def _exactly(number: int) -> Any:
    return vim.option.IntOption(defaultValue=number, min=number, max=number, valueIsReadonly=True)
