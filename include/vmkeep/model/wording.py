"""Writes numbers in sentences: counts with their noun and verb, and sizes as people read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeVar

from vmkeep.model.sizes import UNITS

K = TypeVar("K", bound=Hashable)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 disk``, ``3 disks``.

    :param many: the plural, if it is not the singular with an *s*.
    """
    return f"{number:,} {agreeing(number, one, many or f'{one}s')}"


def counted_of(part: int, whole: int, one: str) -> str:
    """Return a part of a number with its noun: ``1 of 3 disks``. A verb that follows agrees with the part."""
    return f"{part:,} of {counted(whole, one)}"


def agreeing(number: int, one: str, many: str) -> str:
    """Return the form of a verb or a noun that agrees with a number."""
    return one if number == 1 else many


def size(count: float) -> str:
    """Return a number of bytes in binary units, e.g. ``1.5 GiB``, and never 1024 of one."""
    unit = next((unit for unit in UNITS if round(count / UNITS[unit], 1) < 1024), "PiB")
    return f"{count:.0f} B" if unit == "B" else f"{count / UNITS[unit]:.1f} {unit}"


def age(seconds: float) -> str:
    """Return an age as people say it, e.g. ``3 h``: whole minutes, hours or days."""
    for unit, length, most in (("min", 60, 120), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{max(0.0, seconds) // length:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


def exact_size(count: int) -> str:
    """Return a number of bytes in binary units and exactly, because two similar sizes must not look alike."""
    return f"{size(count)} ({counted(count, 'byte')})"


def named_apart(vms: Mapping[K, tuple[str, str]]) -> dict[K, str]:
    """Return the names of VMs; a name that several VMs have is followed by the VM's mark in brackets.

    :param vms: name and mark of each. The mark tells a VM from the others of its name.
    """
    marks: defaultdict[str, set[str]] = defaultdict(set)
    for name, mark in vms.values():
        marks[name].add(mark)
    return {key: f"{name} ({mark})" if len(marks[name]) > 1 else name for key, (name, mark) in vms.items()}


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each VM by its managed object id, which stands behind a name that several of them have."""
    return named_apart({moref: (name, moref) for moref, name in names.items()})
