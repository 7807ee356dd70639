"""The plan of an image whose files are known before the disk is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file of an image."""

    name: str
    size: int
    """Bytes, holes included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring bytes of a file: either given ones, or a copy of a part of the disk."""

    file: int
    """Index of the file in the layout."""
    offset: int
    """Where the bytes begin in the file."""
    length: int
    data: bytes | None = None
    """The bytes; ``None``: they are the disk's, from ``start`` on."""
    start: int = 0
    """Offset of the bytes on the disk, if ``data`` is ``None``."""


class Layout(Protocol):
    """The plan of an image of one disk.

    Bytes of a file that no run names are zeros. A layout takes little memory, whatever the size of the disk: tables
    are made when :meth:`runs` reaches them.
    """

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The image's files. The first is the one that a person names to open the image."""

    def runs(self) -> Iterator[Run]:
        """Yield the runs of all files, in order of file and offset."""

    def place(self, start: int, length: int) -> Iterator[Run]:
        """Yield the places of a part of the disk, in order; each is a run of the disk's bytes.

        The part is one that holds data by the map from which the layout was planned.
        """
