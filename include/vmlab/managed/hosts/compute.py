"""Hosts, clusters, resource pools, networks and datacenters, worked out from a few stored values."""

import uuid
from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.hosts.hardware_versions import RELEASES, newest_version_on
from vmlab.managed.hosts.host_states import host_runtime, uses_drs
from vmlab.managed.properties import datacenter_of
from vmlab.managed.site import Site, computed
from vmlab.managed.world import hosts_of, reached

CORES, THREADS, MHZ, MEMORY = 8, 16, 2600, 64 << 30
NUMA_NODES = 1


@computed(vim.Datacenter, "datastore")
def datacenter_datastore(site: Site, ref: Any) -> list[Any]:
    """The datastores of a datacenter."""
    return _under(site, vim.Datastore, ref)


@computed(vim.Datacenter, "network")
def datacenter_network(site: Site, ref: Any) -> list[Any]:
    """The networks of a datacenter."""
    return _under(site, vim.Network, ref)


@computed(vim.ComputeResource, "host")
def hosts_of_cluster(site: Site, ref: Any) -> list[Any]:
    """The hosts of a cluster."""
    return [host for host in site.world.all(vim.HostSystem) if site.world.get(host, "parent") == ref]


@computed(vim.ComputeResource, "datastore")
@computed(vim.HostSystem, "datastore")
def host_datastore(site: Site, ref: Any) -> list[Any]:
    """The datastores of a host, or of any host of a cluster."""
    return reached(site.world, vim.Datastore, _hosts(site, ref))


@computed(vim.ComputeResource, "network")
@computed(vim.HostSystem, "network")
def host_network(site: Site, ref: Any) -> list[Any]:
    """The networks of a host, or of any host of a cluster."""
    return reached(site.world, vim.Network, _hosts(site, ref))


@computed(vim.ComputeResource, "environmentBrowser")
def compute_browser(site: Site, ref: Any) -> Any:
    """The cluster's environment browser."""
    return vim.EnvironmentBrowser(f"envbrowser-{ref._moId}")


@computed(vim.ComputeResource, "summary")
def compute_summary(site: Site, ref: Any) -> Any:
    """Sizes of a cluster."""
    hosts = len(hosts_of_cluster(site, ref))
    kind = (
        vim.ClusterComputeResource.Summary
        if isinstance(ref, vim.ClusterComputeResource)
        else vim.ComputeResource.Summary
    )
    return fill(
        kind(
            totalCpu=hosts * CORES * MHZ,
            totalMemory=hosts * MEMORY,
            numCpuCores=hosts * CORES,
            numCpuThreads=hosts * THREADS,
            effectiveCpu=hosts * CORES * MHZ,
            effectiveMemory=hosts * MEMORY >> 20,
            numHosts=hosts,
            numEffectiveHosts=hosts,
            overallStatus="green",
        )
    )


@computed(vim.ClusterComputeResource, "summaryEx")
def cluster_summary(site: Site, ref: Any) -> Any:
    """Return the summary, where newer clients look for it."""
    return compute_summary(site, ref)


@computed(vim.ClusterComputeResource, "configurationEx")
def cluster_config_ex(site: Site, ref: Any) -> Any:
    """The configuration of a cluster: DRS on or off, and neither HA, rules nor groups."""
    drs = vim.cluster.DrsConfigInfo(enabled=uses_drs(site, ref), defaultVmBehavior="fullyAutomated", vmotionRate=3)
    return fill(
        vim.cluster.ConfigInfoEx(
            vmSwapPlacement="vmDirectory", dasConfig=vim.cluster.DasConfigInfo(enabled=False), drsConfig=drs,
            dpmConfigInfo=vim.cluster.DpmConfigInfo(enabled=False),
        )
    )  # fmt: skip


@computed(vim.ClusterComputeResource, "configuration")
def cluster_config(site: Site, ref: Any) -> Any:
    """Return the configuration as older clients read it."""
    config = cluster_config_ex(site, ref)
    return vim.cluster.ConfigInfo(dasConfig=config.dasConfig, drsConfig=config.drsConfig)


@computed(vim.HostSystem, "vm")
def host_vm(site: Site, ref: Any) -> list[Any]:
    """The VMs on a host."""
    return [vm for vm in site.world.all(vim.VirtualMachine) if site.world.get(vm, "runtime").host == ref]


@computed(vim.HostSystem, "capability")
def host_capability(_site: Site, _: Any) -> Any:
    """The abilities of a present-day ESXi host, as far as clients ask."""
    yes = (
        "recursiveResourcePoolsSupported", "cpuMemoryResourceConfigurationSupported", "rebootSupported",
        "shutdownSupported", "vmotionSupported", "sanSupported", "nfsSupported", "iscsiSupported",
        "vlanTaggingSupported", "nicTeamingSupported", "maintenanceModeSupported", "perVmSwapFiles",
        "backgroundSnapshotsSupported", "preAssignedPCIUnitNumbersSupported", "storageVMotionSupported",
        "vStorageCapable", "vmfsDatastoreMountCapable", "deltaDiskBackingsSupported", "cloneFromSnapshotSupported",
        "featureCapabilitiesSupported", "latencySensitivitySupported",
    )  # fmt: skip
    limits = {"maxSupportedVMs": 1024, "maxRunningVMs": 1024, "maxSupportedVcpus": 4096, "maxRegisteredVMs": 4096}
    return fill(vim.host.Capability(**dict.fromkeys(yes, True), **limits))


@computed(vim.HostSystem, "hardware")
def host_hardware(site: Site, ref: Any) -> Any:
    """A plain two-socket server."""
    return fill(
        vim.host.HardwareInfo(
            systemInfo=vim.host.SystemInfo(vendor="vmlab", model="Simulated host", uuid=_uuid(site, ref)),
            cpuInfo=vim.host.CpuInfo(numCpuPackages=2, numCpuCores=CORES, numCpuThreads=THREADS, hz=MHZ * 1_000_000),
            memorySize=MEMORY,
            numaInfo=vim.host.NumaInfo(
                type="NUMA",
                numNodes=NUMA_NODES,
                numaNode=[vim.host.NumaNode(typeId=0, cpuID=list(range(THREADS)), memoryRangeLength=MEMORY)],
            ),
        )
    )


@computed(vim.HostSystem, "summary")
def host_summary(site: Site, ref: Any) -> Any:
    """The summary that lists show of a host."""
    product = host_about(site, ref)
    machine = vim.host.Summary.HardwareSummary(
        vendor="vmlab",
        model="Simulated host",
        uuid=_uuid(site, ref),
        memorySize=MEMORY,
        cpuModel="Simulated CPU",
        cpuMhz=MHZ,
        numCpuPkgs=2,
        numCpuCores=CORES,
        numCpuThreads=THREADS,
        numNics=2,
        numHBAs=1,
    )
    return fill(
        vim.host.Summary(
            host=ref,
            hardware=machine,
            runtime=host_runtime(site, ref),
            config=_summary_config(site, ref, product),
            quickStats=vim.host.Summary.QuickStats(overallCpuUsage=420, overallMemoryUsage=4096, uptime=86400),
            overallStatus="green",
            rebootRequired=False,
            managementServerIp="127.0.0.1",
        )
    )


def _summary_config(site: Site, ref: Any, product: Any) -> Any:
    """The host's own port and thumbprint, by which the vCenter reaches and recognises it."""
    end = site.host_ends.get(ref._moId)
    return vim.host.Summary.ConfigSummary(
        name=site.world.get(ref, "name"),
        port=end.port if end is not None else 443,
        sslThumbprint=end.certificate.sha1 if end is not None else None,
        product=product,
        vmotionEnabled=True,
    )


@computed(vim.HostSystem, "datastoreBrowser")
def host_browser(_site: Site, ref: Any) -> Any:
    """The host's datastore browser."""
    return vim.host.DatastoreBrowser(f"datastoreBrowser-{ref._moId}")


@computed(vim.ResourcePool, "resourcePool")
def pool_children(site: Site, ref: Any) -> list[Any]:
    """Pools directly under a pool."""
    return [pool for pool in site.world.all(vim.ResourcePool) if site.world.get(pool, "parent") == ref]


@computed(vim.ResourcePool, "vm")
def pool_vm(site: Site, ref: Any) -> list[Any]:
    """VMs directly in a pool."""
    return [vm for vm in site.world.all(vim.VirtualMachine) if site.world.get(vm, "resourcePool") == ref]


@computed(vim.ResourcePool, "config")
def pool_config(site: Site, ref: Any) -> Any:
    """A configuration without limits."""
    return fill(vim.ResourceConfigSpec(entity=ref, cpuAllocation=allocation(), memoryAllocation=allocation()))


@computed(vim.ResourcePool, "summary")
def pool_summary(site: Site, ref: Any) -> Any:
    """The summary of a pool: its name and configuration."""
    kind = vim.VirtualApp.Summary if isinstance(ref, vim.VirtualApp) else vim.ResourcePool.Summary
    return fill(kind(name=site.world.get(ref, "name"), config=pool_config(site, ref)))


@computed(vim.Network, "summary")
def network_summary(site: Site, ref: Any) -> Any:
    """The summary of a network: its name, and that it is reachable."""
    return fill(vim.Network.Summary(network=ref, name=site.world.get(ref, "name"), accessible=True))


@computed(vim.Network, "host")
def network_host(site: Site, ref: Any) -> list[Any]:
    """The hosts that have a network."""
    return hosts_of(site.world, ref)


@computed(vim.ManagedEntity, "overallStatus")
def overall_status(_site: Site, _: Any) -> str:
    """The status green, of everything."""
    return "green"


@computed(vim.ManagedEntity, "effectiveRole")
def effective_role(_site: Site, _: Any) -> list[int]:
    """The role Administrator, whatever the caller is: the real check is made at each call."""
    return [-1]


def allocation() -> Any:
    """A resource allocation with no limits."""
    return vim.ResourceAllocationInfo(
        reservation=0, expandableReservation=True, limit=-1, shares=vim.SharesInfo(shares=4000, level="normal")
    )


def _under(site: Site, kind: Any, datacenter: Any) -> list[Any]:
    return [ref for ref in site.world.all(kind) if datacenter_of(site, ref) == datacenter]


def _hosts(site: Site, ref: Any) -> list[Any]:
    return [ref] if isinstance(ref, vim.HostSystem) else hosts_of_cluster(site, ref)


def _uuid(site: Site, ref: Any) -> str:
    """A host's hardware UUID. Hosts without vCenter all have one id, and still are different machines."""
    machine = "" if site.product.is_vcenter else f"-{site.instance_uuid}"
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"vmlab-{ref._moId}{machine}"))


def host_about(site: Site, host: Any) -> Any:
    """The ESXi release of a host."""
    release, build = RELEASES[newest_version_on(site, host)]
    return vim.AboutInfo(
        name="VMware ESXi",
        fullName=f"VMware ESXi {release} build-{build} (simulated by vmlab)",
        vendor="vmlab",
        version=release,
        build=build,
        osType="vmnix-x86",
        productLineId="embeddedEsx",
        apiType="HostAgent",
        apiVersion=f"{release}.0",
    )
