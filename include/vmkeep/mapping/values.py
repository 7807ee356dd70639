"""A mapping as a value: the same fields as its file, and where each of them stands."""

from __future__ import annotations

from dataclasses import field, fields

from vmkeep.documents import Path, Place
from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLine:
    """One disk of the saved VM, and the place of the new disk."""

    disk: str
    """Address (``scsi0:1``) or label."""
    datastore: str | None = None
    rdm: str | None = None
    """The replacement of an RDM, a word of :mod:`vmkeep.model.rdm`."""
    lun: str | None = None
    """The free LUN that an RDM is mapped to."""
    about: str = ""
    """Words about the saved disk, for the comment beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLine:
    """One network card of the saved VM, and the network of the new card."""

    card: str
    """Label."""
    network: str | None = None
    about: str = ""
    """Words about the saved card, for the comment beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreMapping:
    """The place of a new VM and of each of its parts; ``None``: as it would be without the mapping."""

    name: str | None = None
    keep_identity: bool | None = None
    power_on: bool | None = None
    connect_networks: bool | None = None
    folder: str | None = None
    resource_pool: str | None = None
    host: str | None = None
    datastore: str | None = None
    log_directory: str | None = None
    suspend_directory: str | None = None
    snapshot_directory: str | None = None
    disks: tuple[DiskLine, ...] = ()
    networks: tuple[CardLine, ...] = ()


OF_THE_VM = tuple(one.name for one in fields(RestoreMapping) if one.name not in ("disks", "networks"))
"""Fields about the VM as a whole, in the order of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMapping:
    """A mapping that was read, with the place of each field in its text."""

    mapping: RestoreMapping
    places: dict[Path, Place] = field(default_factory=dict)

    def at(self, *path: str | int) -> str:
        """Return the place of a field in words, for a message."""
        place = self.places.get(path, Place())
        return f"line {place.line}, column {place.column}"
