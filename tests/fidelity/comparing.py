"""Flattens a VM's configuration to paths and values, and finds the differences between two. Pure.

A device is named by its kind and its place, not by its key, because vSphere gives keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.disks import controller_kind

DEVICE = vim.vm.device
Difference = tuple[str, str | None, str | None]
"""A path, and its value before and after; ``None``: there is none."""


def differences(before: Any, after: Any) -> list[Difference]:
    """Return each path whose value is another one in the second configuration."""
    one, other = flatten(before), flatten(after)
    return [
        (path, one.get(path), other.get(path)) for path in sorted({*one, *other}) if one.get(path) != other.get(path)
    ]


def flatten(config: Any) -> dict[str, str]:
    """Return every property of a VirtualMachineConfigInfo, by its path."""
    names = device_names(config.hardware.device)
    found: dict[str, str] = {}
    for name, value in _members(config):
        if name == "extraConfig":
            found |= {f"extraConfig.{_by_device(item.key.lower(), names)}": str(item.value) for item in value}
        else:
            found |= _flat(name, value, names)
    return found


def device_names(devices: Any) -> dict[int, str]:
    """Return a name for each device, by its key: its kind and address, or its kind and number."""
    listed = sorted(devices, key=lambda device: device.key)
    names: dict[int, str] = {}
    for device in listed:
        if controller_kind(device) is not None or isinstance(device, DEVICE.VirtualController):
            names[device.key] = f"{type_name(device)} {device.busNumber}"
    counts: dict[str, int] = {}
    for device in listed:
        if device.key in names:
            continue
        kind = "card" if isinstance(device, DEVICE.VirtualEthernetCard) else type_name(device)
        if isinstance(device, DEVICE.VirtualSerialPort):
            kind = f"{kind} by {type_name(device.backing)}"
        if isinstance(device, DEVICE.VirtualDisk | DEVICE.VirtualCdrom):
            names[device.key] = f"{kind} on {names.get(device.controllerKey)} unit {device.unitNumber}"
            continue
        counts[kind] = counts.get(kind, 0) + 1
        names[device.key] = f"{kind} {counts[kind]}"
    return names


def _by_device(key: str, names: Mapping[int, str]) -> str:
    """Return the key of an advanced setting with the name of its device in place of a number."""
    found = re.fullmatch(r"(ethernet|serial)(\d+)\.(.*)", key)
    if found is None:
        return key
    first = {"ethernet": 4000, "serial": 9000}[found[1]]
    return f"{names.get(first + int(found[2]), found[1] + found[2])}.{found[3]}"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    for info in value._GetPropertyList():
        if info.name not in ("dynamicType", "dynamicProperty"):
            yield info.name, getattr(value, info.name)


def _flat(path: str, value: Any, names: Mapping[int, str]) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, list):
        found: dict[str, str] = {}
        for number, item in enumerate(value):
            name = f"{path}[{number}]"
            if isinstance(item, DEVICE.VirtualDevice):
                name = f"device[{names[item.key]}]"
            found |= _flat(name, item, names)
        return found
    if hasattr(value, "_moId"):
        return {path: str(value)}
    if not hasattr(value, "_GetPropertyList") or isinstance(value, type):
        return {path: str(value)}
    found = {f"{path}.type": type_name(value)}
    for name, member in _members(value):
        if isinstance(value, DEVICE.VirtualController) and name == "device":
            found |= {f"{path}.device[{names[key]}]": "on it" for key in member}
        elif name in ("controllerKey", "deviceKey") and member is not None:
            found[f"{path}.{name}"] = names.get(member, f"no device {member}")
        elif not (isinstance(value, DEVICE.VirtualDevice) and name == "key"):
            found |= _flat(f"{path}.{name}", member, names)
    return found
