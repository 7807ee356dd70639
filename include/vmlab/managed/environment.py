"""The environment browser: what a VM could be given here: LUNs, datastores, networks, hardware versions."""

from typing import Any

from vmlab.managed import datastores
from vmlab.managed.luns import target_luns
from vmlab.managed.registry import Call, computed, method
from vmlab.managed.site import Site
from vmlab.soap.types import vim
from vmlab.soap.values import fill

Browser = vim.EnvironmentBrowser


@method(Browser, "QueryConfigTarget")
def query_config_target(call: Call, host: Any) -> Any:
    """Free LUNs, datastores and networks; the LUN names and ids a raw device mapping has to use."""
    site, world = call.site, call.world
    stores = [
        vim.vm.DatastoreInfo(
            name=world.get(ref, "name"), datastore=datastores.summary(site, ref),
            capability=datastores.capability(site, ref), maxFileSize=64 << 40, mode="readWrite",
        )
        for ref in world.all(vim.Datastore)
    ]  # fmt: skip
    networks = [
        vim.vm.NetworkInfo(name=world.get(ref, "name"), network=vim.Network.Summary(network=ref, name=world.get(ref,
        "name"), accessible=True)) for ref in world.all(vim.Network)
    ]  # fmt: skip
    target = vim.vm.ConfigTarget(
        numCpus=16, numCpuCores=8, numNumaNodes=1, maxMemMBOptimalPerf=65536, smcPresent=False,
        datastore=stores, network=networks, scsiDisk=target_luns(site),
    )  # fmt: skip
    return fill(target)


@method(Browser, "QueryConfigOption")
@method(Browser, "QueryConfigOptionEx")
def query_config_option(call: Call, **_: Any) -> Any:
    """The defaults of the newest hardware version, in outline."""
    return fill(vim.vm.ConfigOption(version="vmx-21", description="ESXi 8.0 U2 virtual machine"))


@method(Browser, "QueryConfigOptionDescriptor")
def query_config_option_descriptor(call: Call) -> list[Any]:
    """The hardware versions on offer."""
    hosts = call.world.all(vim.HostSystem)
    return [
        fill(vim.vm.ConfigOptionDescriptor(key=f"vmx-{number}", host=hosts, createSupported=True,
        defaultConfigOption=number == 21)) for number in (13, 15, 17, 19, 20, 21)
    ]  # fmt: skip


@computed(Browser, "datastoreBrowser")
def datastore_browser(site: Site, _: Any) -> Any:
    """The browser of the first host."""
    hosts = site.world.all(vim.HostSystem)
    return vim.host.DatastoreBrowser(f"datastoreBrowser-{hosts[0]._moId}")
