"""The files that a running VM holds: only its host can read them."""

from pathlib import Path
from typing import Any

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Site


def lock_holder(site: Site, path: Path) -> Any:
    """Return the host whose running VM holds a file as its .vmx, NVRAM or disk, or None if no VM does."""
    with site.world.lock:
        for vm in site.world.all(vim.VirtualMachine):
            runtime, config = site.world.get(vm, "runtime"), site.world.get(vm, "config")
            if config is not None and runtime.powerState == "poweredOn" and path in _held(site, config):
                return runtime.host
    return None


def _held(site: Site, config: Any) -> set[Path]:
    vmx = ds_paths.local(site, config.files.vmPathName)
    links = [backing.fileName for disk in disks(config) for backing in backing_chain(disk.backing)]
    return {vmx, vmx.with_suffix(".nvram"), *(ds_paths.local(site, link) for link in links)}
