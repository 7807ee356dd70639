"""Lowers the hardware version of a saved VM for an older host, where the VM has nothing that the version lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.hardware import version_number

CHOOSES_CORES = 20
"""The first hardware version whose cores per socket and virtual NUMA nodes vSphere can choose."""
_SECURE_BOOT = 13
_KINDS = vim.vm.device
_SINCE: tuple[tuple[Any, int, str], ...] = (
    (_KINDS.VirtualPrecisionClock, 18, "precision clock"),
    (_KINDS.VirtualWDT, 17, "watchdog"),
    (_KINDS.VirtualTPM, 14, "TPM"),
    (_KINDS.VirtualNVMEController, 13, "NVMe controller"),
    (_KINDS.VirtualSATAController, 10, "SATA controller"),
    (_KINDS.VirtualUSBXHCIController, 8, "USB 3 controller"),
    (_KINDS.VirtualE1000e, 8, "E1000e card"),
    (_KINDS.VirtualHdAudioCard, 8, "HD audio card"),
    (_KINDS.ParaVirtualSCSIController, 7, "PVSCSI controller"),
    (_KINDS.VirtualVmxnet3, 7, "vmxnet3 card"),
)
"""Kinds of devices, each with the first hardware version that has it, and its name."""


def require_lower(config: Any, version: str | None) -> None:
    """Return if a saved VM can be lowered to a hardware version; ``None``: it keeps its own.

    :raises UsageError: this is no version, or one above the VM's own.
    :raises UnsupportedError: the VM has something that the version does not know.
    """
    if version is None:
        return
    number, own = version_number(version), version_number(config.version)
    if not 0 < number <= own:
        raise UsageError(f"hardware version '{version}': give one as vmx-19, not above the VM's own {config.version}")
    newer = {words: since for words, since in _needs(config) if since > number}
    if newer:
        listed = ", ".join(f"{words} (from vmx-{since:02d} on)" for words, since in newer.items())
        raise UnsupportedError(f"the VM cannot be lowered to hardware version {version}, because it has: {listed}")


def lost_by_lowering(config: Any, version: str) -> Iterator[str]:
    """Yield a note for each setting that a lower hardware version does not know."""
    if version == config.version:
        return
    yield f"its hardware version is lowered from {config.version} to {version}, as asked"
    if version_number(version) >= CHOOSES_CORES:
        return
    if config.hardware.autoCoresPerSocket:
        yield f"it has {config.hardware.numCoresPerSocket} cores per socket, because {version} does not choose them"
    if has_own_numa_nodes(config.numaInfo):
        yield f"not taken over: the sizes of its virtual NUMA nodes, which {version} does not know"


def has_own_numa_nodes(numa: Any) -> bool:
    """Return whether somebody has set the virtual NUMA nodes of a VM."""
    return numa is not None and (numa.autoCoresPerNumaNode is False or bool(numa.vnumaOnCpuHotaddExposed))


def _needs(config: Any) -> Iterator[tuple[str, int]]:
    for kind, since, words in _SINCE:
        if any(isinstance(device, kind) for device in config.hardware.device):
            yield words, since
    if config.bootOptions is not None and config.bootOptions.efiSecureBootEnabled:
        yield "secure boot", _SECURE_BOOT
