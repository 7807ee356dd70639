"""Refuses parts of a ConfigSpec that nobody may ask for: overhead limits, unknown keys, a TPM that cannot be."""

import secrets
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.hosts import NUMA_NODES, THREADS
from vmlab.managed.machine import Device, DevicePlan, Disk, invalid_device
from vmlab.managed.site import Site
from vmlab.managed.vcenter import knows_extension, knows_key

BUNDLE = "encryption.bundle"
AUTOMATIC_CORES = 20
"""The first hardware version whose cores per socket vSphere can choose."""


def check_spec(site: Site, spec: Any) -> None:
    """Raise the fault for a value that a client may read and never set, or that this site cannot give."""
    for name in ("cpuAllocation", "memoryAllocation"):
        if getattr(getattr(spec, name), "overheadLimit", None) is not None:
            raise _invalid(f"configSpec.{name}.overheadLimit", "the overhead limit is not a client's to set")
    for name, most in (("cpuAffinity", THREADS), ("memoryAffinity", NUMA_NODES)):
        if any(not 0 <= number < most for number in getattr(getattr(spec, name), "affinitySet", None) or ()):
            raise vim.fault.InvalidAffinitySettingFault(msg=f"{name}: the host has the numbers 0 to {most - 1}")
    if spec.vAppConfig is not None and not site.product.is_vcenter:
        raise vmodl.fault.NotSupported(msg="A host without vCenter knows no vApp properties.")
    _check_manager(site, spec.managedBy)


def check_config(config: Any) -> None:
    """Raise the fault for values of a finished configuration that do not go together."""
    hardware, boot = config.hardware, config.bootOptions
    if hardware.autoCoresPerSocket and int(config.version.removeprefix("vmx-")) < AUTOMATIC_CORES:
        raise _invalid("configSpec.numCoresPerSocket", f"vSphere chooses the cores from vmx-{AUTOMATIC_CORES} on")
    if boot is not None and boot.efiSecureBootEnabled and config.firmware != "efi":
        raise _invalid("configSpec.bootOptions.efiSecureBootEnabled", "only EFI has secure boot")
    if (config.memoryAllocation.reservation or 0) > hardware.memoryMB:
        raise _invalid("configSpec.memoryAllocation.reservation", "no VM reserves more memory than it has")
    for name in ("cpuAllocation", "memoryAllocation"):
        limit, reserved = getattr(config, name).limit, getattr(config, name).reservation or 0
        if limit is not None and 0 <= limit < reserved:
            raise _invalid(f"configSpec.{name}.limit", "a limit below the reservation")
    keys = {device.key for device in hardware.device}
    for item in boot.bootOrder if boot is not None else ():
        if getattr(item, "deviceKey", None) not in (None, *keys):
            raise _invalid("configSpec.bootOptions.bootOrder", f"no device has the key {item.deviceKey}")


def _check_manager(site: Site, manager: Any) -> None:
    """Raise InvalidArgument for an extension that is not registered. An empty key takes the manager away."""
    if manager is None or not manager.extensionKey:
        return
    if not site.product.is_vcenter or not knows_extension(site, manager.extensionKey):
        raise _invalid("configSpec.managedBy.extensionKey", f"no extension {manager.extensionKey} is registered")


def encrypt(site: Site, config: Any, spec: Any) -> None:
    """Encrypt a new VM if its spec asks for it. Raises InvalidArgument for an unknown key or another key's bundle."""
    bundle = next((option for option in config.extraConfig if option.key.lower() == BUNDLE), None)
    if spec.crypto is None:
        if bundle is not None:
            raise _invalid("configSpec.extraConfig", f"{BUNDLE} belongs to an encrypted virtual machine")
        return
    key = getattr(spec.crypto, "cryptoKeyId", None)
    if key is None or not knows_key(site, key):
        raise _invalid("configSpec.crypto", "the key is not available from any key provider")
    config.keyId = key
    wrapped_by = f"{key.providerId.id}/{key.keyId}"
    if bundle is None:
        made = f"vmware:key/list/(pair/(fqid/<VMWARE-NULL>/{wrapped_by},HMAC-SHA-256,{secrets.token_hex(32)}))"
        config.extraConfig = [*config.extraConfig, vim.option.OptionValue(key=BUNDLE, value=made)]
    elif f"/{wrapped_by}," not in str(bundle.value):
        raise _invalid("configSpec.extraConfig", f"{BUNDLE} cannot be opened with key {key.keyId}")


def check_encryption(site: Site, config: Any, plan: DevicePlan) -> None:
    """Raise the fault for a device that needs encryption or EFI, if the VM lacks it."""
    for index, device in enumerate(plan.devices):
        if isinstance(device, Device.VirtualTPM):
            if config.firmware != "efi":
                raise vim.fault.InvalidVmConfig(property="configSpec.firmware", msg="A virtual TPM needs EFI firmware.")
            if config.keyId is None:
                raise vim.fault.InvalidVmConfig(
                    property="configSpec.crypto", msg="A virtual TPM needs an encrypted virtual machine."
                )
        key = getattr(device.backing, "keyId", None) if isinstance(device, Disk) else None
        if key is not None and (config.keyId is None or not knows_key(site, key)):
            raise invalid_device(index, "backing", "an encrypted disk needs an encrypted VM, and a key that is known")


def _invalid(name: str, why: str) -> Any:
    return vmodl.fault.InvalidArgument(
        invalidProperty=name, msg=f"A specified parameter was not correct: {name}: {why}"
    )
