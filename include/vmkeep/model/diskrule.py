"""Rules that choose disks of a VM, written as one text each: ``scsi0:1``, ``>2TiB``, ``datastore:scratch-*``."""

from __future__ import annotations

import re
from collections.abc import Callable

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.job import from_plain
from vmkeep.model.sizes import parse_size

_UNIT = re.compile(r"(scsi|sata|nvme|ide)\d{1,2}:\d{1,3}")
_AND = re.compile(r"\s+&\s+(?=(?:unit|label|datastore):|[<>])")
_FORMS = "scsi0:1, a label, a device key, unit:scsi0:1, label:GLOB, datastore:GLOB, >2TiB, <10GiB, joined by ' & '"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRule:
    """A description of disks. A disk fits if all given fields are true of it."""

    named: str | None = None
    """The address, label or device key of one disk, which has to exist, because else it is a typing error."""
    unit: str | None = None
    label: str | None = None
    """``*`` and ``?`` stand for any characters, here and in the datastore."""
    larger_than: int | None = None
    """Bytes, as in ``smaller_than``."""
    smaller_than: int | None = None
    datastore: str | None = None

    def fits(self, disk: Disk, datastore: str | None) -> bool:
        """Return whether a disk fits.

        :param datastore: name of the datastore that holds the disk's file; ``None``: it is not known.
        """
        if self.named is not None and self.named not in (disk.address, disk.label, str(disk.key)):
            return False
        if self.unit is not None and self.unit != disk.address:
            return False
        if self.larger_than is not None and disk.capacity <= self.larger_than:
            return False
        if self.smaller_than is not None and disk.capacity >= self.smaller_than:
            return False
        return _matches(self.label, disk.label) and _matches(self.datastore, datastore)

    def __str__(self) -> str:
        """Return the text that :func:`parse_disk_rule` reads as this rule."""
        if self.named is not None:
            return self.named
        parts = {
            "unit:": self.unit, "label:": self.label, ">": self.larger_than, "<": self.smaller_than,
            "datastore:": self.datastore,
        }  # fmt: skip
        return " & ".join(f"{prefix}{value}" for prefix, value in parts.items() if value is not None)


def parse_disk_rule(text: str) -> DiskRule:
    """Parse the text of a rule.

    :raises UsageError: a part is empty, given twice, or no size or unit.
    """
    if not text.strip():
        raise UsageError(f"an empty text chooses no disk; write {_FORMS}")
    fields: dict[str, str | int] = {}
    for part in _AND.split(text.strip()):
        prefix, field, read = next(
            ((prefix, field, read) for prefix, (field, read) in _PARTS.items() if part.startswith(prefix)),
            ("", "named", str),
        )
        if field in fields:
            raise UsageError(f"'{text}' chooses no disk: '{prefix}' is given twice")
        fields[field] = read(part.removeprefix(prefix).strip())
    return from_plain(DiskRule, fields)


def _size(text: str) -> int:
    found = parse_size(text)
    if found is None:
        raise UsageError(f"'{text}' is no size of a disk; write e.g. 500GiB or 2TiB")
    return found


def _unit(text: str) -> str:
    if _UNIT.fullmatch(text) is None:
        raise UsageError(f"'{text}' is no unit of a disk; write e.g. scsi0:1")
    return text


def _pattern(text: str) -> str:
    if not text:
        raise UsageError(f"a label or datastore is empty; write {_FORMS}")
    return text


_PARTS: dict[str, tuple[str, Callable[[str], str | int]]] = {
    "unit:": ("unit", _unit),
    "label:": ("label", _pattern),
    "datastore:": ("datastore", _pattern),
    ">": ("larger_than", _size),
    "<": ("smaller_than", _size),
}


def _matches(pattern: str | None, text: str | None) -> bool:
    """Return whether a text fits a pattern. Brackets stand for themselves, because names of datastores hold them."""
    if pattern is None:
        return True
    wanted = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return text is not None and re.fullmatch(wanted, text, re.DOTALL) is not None
