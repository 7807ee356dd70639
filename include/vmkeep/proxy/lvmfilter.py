"""Judges whether the LVM of a proxy would touch a guest's disk that HotAdd attaches to it.

LVM scans every disk that appears, and may activate its volume groups, or mix them up with the proxy's own where both
come from one template. Two things keep it off a disk: a devices file, which lists the only disks that LVM uses, and a
filter of names. ``filter`` does not count, because programs such as udev's ``pvscan`` are to be kept off by
``global_filter`` alone. LVM takes a disk if any of its names is accepted, or if none is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from string import ascii_lowercase
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.proxy.lvmconfig import LvmConfigError, Value, texts

DEVICES_FILE: Final = "system.devices"
"""Name of LVM's devices file in its folder ``devices``, if the configuration names no other."""
_CURE: Final = (
    "let LVM's devices file (lvmdevices, use_devicesfile = 1) or devices/global_filter in lvm.conf name the proxy's "
    'own disks alone, e.g. global_filter = [ "a|^/dev/sda[0-9]*$|", "r|.*|" ]'
)
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_PARTITIONS: Final = ("", "1", "2", "5")


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmSettings:
    """The settings of LVM that count here."""

    use_devices_file: bool
    devices_file: str | None
    """The text of the devices file; ``None``: there is none, so that LVM uses no devices file, whatever is set."""
    global_filter: tuple[str, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Value], devices_file: str | None) -> LvmSettings:
        """Take the settings from a parsed configuration.

        An unset ``use_devicesfile`` counts as 0, because its default differs between distributions.
        """
        return cls(
            use_devices_file=str(config.get("devices/use_devicesfile", 0)) == "1",
            devices_file=devices_file,
            global_filter=texts(config, "devices/global_filter"),
        )


def why_lvm_touches(settings: LvmSettings, own: Iterable[str] = ()) -> str | None:
    """Return the reason why LVM would touch a guest's disk, with the cure; ``None``: it would not.

    :param own: names of the machine's present disks, e.g. ``sda``. A guest's disk gets another name.
    """
    if settings.use_devices_file and settings.devices_file is not None:
        return None
    try:
        rules = [_Rule.parse(text) for text in settings.global_filter]
    except LvmConfigError as error:
        return f"LVM's global_filter cannot be understood: {error}; {_CURE}"
    if not rules:
        return f"the proxy's LVM would use every disk that appears, because nothing limits it: {_CURE}"
    for names in _guest_disks(own):
        if _accepts(rules, names):
            return f"the proxy's LVM would use a disk such as {names[0]}, because global_filter lets it: {_CURE}"
    return None


@dataclass(frozen=True, slots=True)
class _Rule:
    accept: bool
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> _Rule:
        """Parse ``a|regex|`` or ``r|regex|``, with any character, or a pair of brackets, in place of the bars.

        :raises LvmConfigError: the text is no rule.
        """
        if len(text) < 3 or text[0] not in "ar":
            raise LvmConfigError(f"{text!r} is no rule")
        end = text.rfind(_CLOSING.get(text[1], text[1]))
        if end < 2:
            raise LvmConfigError(f"{text!r} has no end")
        try:
            return cls(text[0] == "a", re.compile(text[2:end]))
        except re.error as error:
            raise LvmConfigError(f"{text!r} is no pattern: {error}") from error


def _accepts(rules: Sequence[_Rule], names: Iterable[str]) -> bool:
    rejected = False
    for name in names:
        first = next((rule for rule in rules if rule.pattern.search(name)), None)
        if first is not None and first.accept:
            return True
        rejected = rejected or first is not None
    return not rejected


def _guest_disks(own: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names that disks of guests may get, and their partitions: the kernel's name and udev's links."""
    taken = set(own)
    letters = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
    for number, letter in enumerate(letters):
        disk = f"sd{letter}"
        if disk in taken:
            continue
        slot = f"pci-0000:1b:00.0-scsi-0:0:{number % 15 + 1}:0"
        for partition in _PARTITIONS:
            part = f"-part{partition}" if partition else ""
            yield (
                f"/dev/{disk}{partition}",
                f"/dev/disk/by-id/scsi-36000c29{number:025x}{part}",
                f"/dev/disk/by-id/wwn-0x6000c29{number:025x}{part}",
                f"/dev/disk/by-path/{slot}{part}",
                f"/dev/disk/by-uuid/{number:08x}-0000-4000-8000-000000000000",
                f"/dev/disk/by-id/lvm-pv-uuid-{number:032x}",
            )
