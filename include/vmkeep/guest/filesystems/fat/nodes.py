"""A file or folder of FAT or exFAT. What is known of it stands in its folder's entry."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FatNode:
    """An entry of a folder. Folders are equal if they begin in the same cluster, whatever entries name them."""

    key: tuple[bool, int]
    """Whether it is a folder, and its first cluster, or the place of a file's entry."""
    cluster: int = field(compare=False)
    """The first cluster; 0: none, or the fixed root of FAT12 and FAT16."""
    size: int = field(compare=False)
    contiguous: bool = field(compare=False, default=False)
    """The clusters are neighbours, and have no chain."""
    valid: int = field(compare=False, default=0)
    """Bytes that were written; all behind them are zeros."""
    modified: datetime | None = field(compare=False, default=None)
    created: datetime | None = field(compare=False, default=None)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.key[0]
