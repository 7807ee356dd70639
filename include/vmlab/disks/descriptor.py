"""Reads the descriptor of a link, for listings. The C core has a reader of its own, for opening disks."""

import re
from dataclasses import dataclass
from pathlib import Path

from vmlab.disks.core import DiskError

NOT_A_DISK = 9
NOT_FOUND = 4
LIMIT = 1 << 20
_EXTENT = re.compile(r'^(?:RW|RDONLY)\s+(\d+)\s+(\w+)(?:\s+"([^"]+)")?', re.IGNORECASE)
_ENTRY = re.compile(r'^([\w.]+)\s*=\s*"?([^"]*?)"?\s*$')


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """The entries and extents of one descriptor file."""

    path: Path
    entries: dict[str, str]
    """Names in lower case."""
    sectors: int
    extent_files: tuple[str, ...]

    @property
    def content_id(self) -> str:
        """The identity of the data as it is now: eight hex digits that a write changes."""
        return self.entries.get("cid", "").lower()

    @property
    def parent_content_id(self) -> str:
        """The parent's content ID when this link was made; ``ffffffff`` for a base."""
        return self.entries.get("parentcid", "ffffffff").lower()

    @property
    def parent(self) -> Path | None:
        """The parent's descriptor file, ``None`` for a base."""
        hint = self.entries.get("parentfilenamehint")
        return self.path.parent / hint if hint and self.parent_content_id != "ffffffff" else None

    @property
    def track_file(self) -> Path | None:
        """The change-tracking file, ``None`` for an untracked link."""
        name = self.entries.get("changetrackpath")
        return self.path.parent / name if name else None

    @property
    def files(self) -> tuple[Path, ...]:
        """Descriptor, extents and the change-tracking file, as they lie on disk."""
        named = [self.path, *(self.path.parent / name for name in self.extent_files)]
        return (*named, self.track_file) if self.track_file else tuple(named)


def load(path: Path) -> Descriptor:
    """Read the descriptor at ``path``.

    :raises DiskError: there is no file, or it is no descriptor.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LIMIT).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DiskError(NOT_FOUND, path.name) from None
    if not text.lower().startswith("# disk descriptorfile"):
        raise DiskError(NOT_A_DISK, path.name)
    lines = [line.strip() for line in text.splitlines()]
    extents = [found for line in lines if (found := _EXTENT.match(line))]
    entries = {found[1].lower(): found[2] for line in lines if (found := _ENTRY.match(line))}
    return Descriptor(
        path=path,
        entries=entries,
        sectors=sum(int(extent[1]) for extent in extents),
        extent_files=tuple(extent[3] for extent in extents if extent[3]),
    )
