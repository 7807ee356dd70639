"""The virtual disks of a configuration, and the chain of links that each one's backing names."""

from typing import Any

from vmlab.api import vim

Disk = vim.vm.device.VirtualDisk


def disks(config: Any) -> list[Any]:
    """The virtual disks of a configuration, in device order."""
    return [device for device in config.hardware.device if isinstance(device, Disk)]


def backing_chain(backing: Any) -> list[Any]:
    """A disk's backing and its parents, newest first."""
    chain = []
    while backing is not None:
        chain.append(backing)
        backing = getattr(backing, "parent", None)
    return chain
