"""Refuses parts of a ConfigSpec that nobody may ask for: overhead limits, unknown keys, a TPM that cannot be."""

import secrets
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.machine import Device, DevicePlan, Disk, invalid_device
from vmlab.managed.site import Site
from vmlab.managed.vcenter import knows_key

BUNDLE = "encryption.bundle"


def check_spec(spec: Any) -> None:
    """Raise InvalidArgument for a value that a client may read and never set."""
    for name in ("cpuAllocation", "memoryAllocation"):
        if getattr(getattr(spec, name), "overheadLimit", None) is not None:
            raise _invalid(f"configSpec.{name}.overheadLimit", "the overhead limit is not a client's to set")


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
