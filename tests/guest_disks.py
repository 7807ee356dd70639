"""Real guest disks for tests: made by real LVM, ``mkfs`` and QEMU, kept compressed in ``fixtures/guest``.

``manifest.json`` tells what each disk holds and what must be found in each scenario. ``expected`` has the digests of
the files inside, and what the real tools said.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import zstandard

from vmkeep.guest import DiskInGuest
from vmkeep.model.extents import Extent

FOLDER: Final = Path(__file__).parent / "fixtures" / "guest"
MANIFEST: Final[Mapping[str, Any]] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
LVM: Final[Mapping[str, Any]] = json.loads((FOLDER / "lvm.json").read_text(encoding="utf-8"))
"""More disks that real LVM made: in each scenario, what ``vgs`` and ``lvs`` told, and what must be found."""
_PIECE: Final = 1 << 20
_HOLE: Final = 1 << 12
_NOTHING: Final = bytes(_PIECE)


class ImageDisk:
    """A raw image as a disk that is read at any place; see :class:`vmkeep.model.blockio.RandomDisk`."""

    def __init__(self, path: Path) -> None:
        self.capacity = path.stat().st_size
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read_into(self, start: int, buffer: memoryview) -> None:
        if not 0 <= start <= start + len(buffer) <= self.capacity:
            raise ValueError(f"bytes {start} to {start + len(buffer)} are not on a disk of {self.capacity} bytes")
        assert os.preadv(self._file, [buffer], start) == len(buffer)

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        if start < stop:
            yield Extent(start, stop), True


class MemoryDisk:
    """Bytes as a disk that is read at any place, so that a test may change them."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content
        self.reads: list[tuple[int, int]] = []
        """Place and length of each read."""

    @property
    def capacity(self) -> int:
        return len(self.content)

    def read_into(self, start: int, buffer: memoryview) -> None:
        if not 0 <= start <= start + len(buffer) <= self.capacity:
            raise ValueError(f"bytes {start} to {start + len(buffer)} are not on a disk of {self.capacity} bytes")
        self.reads.append((start, len(buffer)))
        buffer[:] = self.content[start : start + len(buffer)]

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        if start < stop:
            yield Extent(start, stop), True


def in_guest(*disks: Any) -> list[DiskInGuest]:
    """Return disks as those of one guest, with the names that vSphere would give them."""
    return [DiskInGuest(number=at, label=f"Hard disk {at + 1}", disk=disk) for at, disk in enumerate(disks)]


class GuestDisks:
    """The disks of ``fixtures/guest``, each unpacked once to a sparse file that nobody may write to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the raw image of a disk, e.g. ``ia``."""
        path = self._folder / f"{name}.raw"
        if not path.exists():
            unpack(FOLDER / f"{name}.raw.zst", path)
        return path

    def disks(self, *names: str) -> list[DiskInGuest]:
        """Return some disks as those of one guest."""
        return in_guest(*(ImageDisk(self.path(name)) for name in names))

    def scenario(self, name: str) -> list[DiskInGuest]:
        """Return the disks of a scenario of the manifest."""
        return self.disks(*MANIFEST["scenarios"][name]["disks"])


def unpack(packed: Path, path: Path) -> None:
    """Unpack an image, with holes where it is zero."""
    with packed.open("rb") as source, path.open("wb") as out:
        with zstandard.ZstdDecompressor().stream_reader(source) as reader:
            while piece := reader.read(_PIECE):
                if piece == _NOTHING[: len(piece)]:
                    out.seek(len(piece), os.SEEK_CUR)
                    continue
                for at in range(0, len(piece), _HOLE):
                    page = piece[at : at + _HOLE]
                    if page.strip(b"\0"):
                        out.write(page)
                    else:
                        out.seek(len(page), os.SEEK_CUR)
        out.truncate(out.tell())
    path.chmod(0o444)
