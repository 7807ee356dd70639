"""Chooses the advanced settings that a new VM takes over. Pure: option values in, option values and notes out.

vSphere compares keys without regard to case, and so does every rule here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.claims import SETTINGS

GENERATION = ("vm.genid", "vm.genidX")
"""Keys of the VM's generation id, 64 bits in each. A guest that finds another id knows that it went back in time."""
ENCRYPTION_BUNDLE = "encryption.bundle"
"""Holds the key of the VM's own files, wrapped by the key of the key provider."""

_NODE = r"(?:scsi|sata|nvme|ide)\d+:\d+\."
_USUAL = re.compile(
    "|".join(
        (
            *map(re.escape, (*SETTINGS, *GENERATION)),
            r"vmkeep\.attaching\..*",
            r"nvram", r"ctkenabled", r"cleanshutdown", r"softpoweroff", r"tools\.remindinstall", r"vmxstats\.filename",
            r"monitor\.phys_bits_used", r"sched\.swap\.derivedname",
            r"guestinfo\.(?:vmtools|gc|vmware\.components)\..*", r"guestinfo\.detailed\.data",
            r"guestinfo\.appinfo", r"vc\.uuid", r"vmci\d+\.id",
            r"(?:uuid|viv|migrate|vmotion|checkpoint|replay|changetracking|datasets|vtpm|encryption|managedby)\..*",
            r"(?:vmware\.tools|toolsinstallmanager|numa\.autosize)\..*",
            r".*\.ctkenabled", r".*\.redo", r"scsi\d+\.saswwid",
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
"""Settings that vSphere writes itself, that name the old VM's files, or that have to be new in every VM."""
_LOST = (
    ("vSphere Replication", rf"hbr_filter\..*|{_NODE}hbr_filter\..*"),
    ("I/O filters of its disks", rf"{_NODE}filters"),
    ("network filters of its cards (NSX)", r"ethernet\d+\.filter\d+\..*"),
    ("PCI passthrough", r"pcipassthru.*"),
    ("the NUMA nodes that it was bound to", r"numa\.nodeaffinity"),
    ("VNC access to its console", r"remotedisplay\.vnc\..*"),
    ("its role as an agent of an extension", r"eam\..*|hdcs\.agent"),
    ("the OVF environment that vCenter gave its guest", r"guestinfo\.ovfenv"),
)
"""Settings that meant something to the old VM only: their purpose in words, and a pattern for their keys."""
_LOST_KEYS = tuple((what, re.compile(pattern, re.IGNORECASE)) for what, pattern in _LOST)

Renumbered = Mapping[str, Mapping[int, int | None]]
"""Kind of device in keys (``ethernet``) → number of each saved device → its number in the new VM, if it has one."""
_NUMBERED = re.compile(r"(?P<kind>[a-z]+)(?P<number>\d+)(?P<rest>\..*)", re.IGNORECASE)


def kept_settings(
    saved: Iterable[Any], renumbered: Renumbered, *, encrypted: bool
) -> tuple[list[Any], tuple[str, ...]]:
    """Return the advanced settings for the new VM, and a note for each purpose that is lost with the other settings.

    :param renumbered: the numbers of the new VM's devices.
    :param encrypted: the new VM is encrypted with the old one's key, so that it can open the old one's bundle.
    """
    kept, lost = [], dict[str, list[str]]()
    for setting in saved:
        what = next((what for what, pattern in _LOST_KEYS if pattern.fullmatch(setting.key)), None)
        if what is not None:
            lost.setdefault(what, []).append(setting.key)
        elif not _USUAL.fullmatch(setting.key) or (encrypted and setting.key.lower() == ENCRYPTION_BUNDLE):
            key = _renumbered(setting.key, renumbered)
            if key is not None:
                kept.append(vim.option.OptionValue(key=key, value=setting.value))
    return kept, tuple(f"not taken over: {what} ({_some(keys)})" for what, keys in lost.items())


def _renumbered(key: str, renumbered: Renumbered) -> str | None:
    """Return a key with the number that its device has in the new VM; ``None``: the new VM has no such device.

    Without this, the setting of one network card would become that of another one.
    """
    found = _NUMBERED.fullmatch(key)
    numbers = renumbered.get(found["kind"].lower()) if found else None
    if found is None or numbers is None:
        return key
    number = int(found["number"])
    if number not in numbers:
        return None if number in numbers.values() else key
    return None if numbers[number] is None else f"{found['kind']}{numbers[number]}{found['rest']}"


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
