"""Writes the descriptor of a VMDK: a text that names its extents, and tells a hypervisor how the disk was attached."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import field
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.formats.vmdk.header import SECTOR
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind

_NO_PARENT = 0xFFFFFFFF
_OLDEST_HARDWARE = 4
"""The hardware version that every VMware product since Workstation 5 knows."""
_LONGEST_NAME = 200
"""Bytes of a name, so that no file of the image has a name of more than 255 bytes."""
_HEX_OF_UUID = 32
_GIB = 1 << 30
_IDE_CYLINDERS = 16383


class VmdkAdapter(StrEnum):
    """The adapter that a descriptor names. It stands for the disk's geometry; the VM's own settings go first."""

    IDE = "ide"
    BUSLOGIC = "buslogic"
    LSILOGIC = "lsilogic"

    @classmethod
    def of(cls, controller: ControllerKind, controller_type: str) -> VmdkAdapter:
        """Return the adapter for a controller. vSphere names ``lsilogic`` for all but IDE and BusLogic, too."""
        if controller is ControllerKind.IDE:
            return cls.IDE
        return cls.BUSLOGIC if "BusLogic" in controller_type else cls.LSILOGIC


def _new_content_id() -> int:
    return secrets.randbelow(0xFFFFFFFD) + 1  # because the two highest ids mean no content, and no parent


@dataclass(frozen=True, slots=True, kw_only=True)
class VmdkFacts:
    """Facts about a disk that its descriptor repeats."""

    name: str
    """Name of the image's first file, without ``.vmdk``."""
    adapter: VmdkAdapter = VmdkAdapter.LSILOGIC
    uuid: str | None = None
    """The disk's UUID as vSphere tells it, e.g. ``6000C29a-…``. One that has not 32 hexadecimal digits is left out."""
    hardware_version: int | None = None
    """Number of the VM's virtual hardware, e.g. 19; ``None``: the oldest that all products know."""
    content_id: int = field(default_factory=_new_content_id)
    """The CID: changes with the content, so that a child disk can tell whether this is still its parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentLine:
    """An extent as the descriptor names it."""

    size: int
    """Bytes of the disk."""
    kind: str
    """``FLAT`` or ``SPARSE``."""
    file: str

    def __str__(self) -> str:
        """Return the line of the descriptor."""
        place = " 0" if self.kind == "FLAT" else ""
        return f'RW {self.size // SECTOR} {self.kind} "{self.file}"{place}'


def check_disk(name: str, capacity: int) -> None:
    """Return if an image of that name and capacity can be described.

    :raises UsageError: it cannot; the message says why.
    """
    if capacity <= 0 or capacity % SECTOR:
        raise UsageError(f"{name}: {capacity} bytes are not a whole number of {SECTOR}-byte sectors")
    if not name or any(ord(character) < 32 or character in '"/\\\x7f' for character in name):
        raise UsageError(f"{name!r}: is no name for a VMDK, because a descriptor cannot quote it: give another name")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{name!r}: is no name for a VMDK, because it is no Unicode text: give another name"
        ) from error
    if length > _LONGEST_NAME:
        raise UsageError(f"{name}: is too long for the files of a VMDK: give a name of at most {_LONGEST_NAME} bytes")


def describe(facts: VmdkFacts, create_type: str, capacity: int, extents: Iterable[ExtentLine]) -> bytes:
    """Return the descriptor's text.

    :param create_type: the kind of image, e.g. ``monolithicFlat``.
    :param capacity: bytes of the disk.
    """
    cylinders, heads, per_track = geometry(facts.adapter, capacity)
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        'encoding="UTF-8"',
        f"CID={facts.content_id:08x}",
        f"parentCID={_NO_PARENT:08x}",
        f'createType="{create_type}"',
        "",
        "# Extent description",
        *map(str, extents),
        "",
        "# The Disk Data Base",
        "#DDB",
        "",
        f'ddb.adapterType = "{facts.adapter}"',
        f'ddb.geometry.cylinders = "{cylinders}"',
        f'ddb.geometry.heads = "{heads}"',
        f'ddb.geometry.sectors = "{per_track}"',
        *_uuid_line(facts.uuid),
        f'ddb.virtualHWVersion = "{facts.hardware_version or _OLDEST_HARDWARE}"',
        "",
    ]
    return "\n".join(lines).encode()


def geometry(adapter: VmdkAdapter, capacity: int) -> tuple[int, int, int]:
    """Return cylinders, heads and sectors of a track, by the note's rules for each adapter."""
    if adapter is VmdkAdapter.IDE:
        heads, per_track = 16, 63
    elif capacity <= _GIB:
        heads, per_track = 64, 32
    elif capacity <= 2 * _GIB:
        heads, per_track = 128, 32
    else:
        heads, per_track = 255, 63
    cylinders = max(1, capacity // SECTOR // (heads * per_track))
    return (min(cylinders, _IDE_CYLINDERS) if adapter is VmdkAdapter.IDE else cylinders), heads, per_track


def _uuid_line(uuid: str | None) -> list[str]:
    digits = (uuid or "").replace("-", "").replace(" ", "").lower()
    if len(digits) != _HEX_OF_UUID or not all(digit in "0123456789abcdef" for digit in digits):
        return []
    pairs = [digits[at : at + 2] for at in range(0, _HEX_OF_UUID, 2)]
    return [f'ddb.uuid = "{" ".join(pairs[:8])}-{" ".join(pairs[8:])}"']
