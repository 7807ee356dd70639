"""Reads a qcow2 image, and the backing files beside it, as one disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.neighbours import neighbour
from vmkeep.formats.openfiles import OpenFiles
from vmkeep.formats.qcow2.compressed import CompressedClusters
from vmkeep.formats.qcow2.header import SECTOR, Opening, read_opening
from vmkeep.formats.qcow2.tables import Kind, Part, Tables
from vmkeep.formats.reading import PieceReader, read_pieces
from vmkeep.model.extents import Extent, Extents, align_out, gather, unite
from vmkeep.model.wording import counted

_LONGEST_CHAIN = 64


class _Below(Protocol):
    """The image under another one."""

    capacity: int

    def read_into(self, start: int, buffer: memoryview) -> None: ...
    def allocated(self) -> Extents | None: ...


class Qcow2Source:
    """A qcow2 image as a disk; see :class:`vmkeep.model.blockio.DiskSource`. A context manager."""

    transport = "file"

    def __init__(self, image: _Image, opened: OpenFiles) -> None:
        self.capacity = image.capacity
        self.notes = image.notes
        """One sentence for each thing in the image that is not read."""
        self.files = opened.files
        """The image and its backing files."""
        self._image = image
        self._opened = opened

    def __enter__(self) -> Qcow2Source:  # noqa: PYI034 - as in images.diskfiles
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the image and its backing files."""
        self._opened.close()

    def allocated(self) -> Extents | None:
        """Return the extents that the image or a backing file holds; ``None``: a backing file does not tell its own."""
        return self._image.allocated()

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[PieceReader]:
        """Read extents in pieces."""
        return read_pieces(self.read_into, extents, piece_size=piece_size, depth=depth)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the disk's bytes from an offset on. Thread-safe."""
        self._image.read_into(start, buffer)


class _Image:
    """One image of a chain, over the image below it."""

    def __init__(self, file: ImageFile, opening: Opening, below: _Below | None) -> None:
        header = opening.header
        self.capacity = header.size
        self.notes = (
            (f"{file.name}: the disk as it is now is read, without {counted(header.snapshots, 'internal snapshot')}",)
            if header.snapshots
            else ()
        )
        self._file = file
        self._cluster = header.cluster
        self._below = below
        self._tables = Tables(file, header)
        self._compressed = CompressedClusters(file, cluster_bits=header.cluster_bits, compression=opening.compression)

    def allocated(self) -> Extents | None:
        mine = gather(self._tables.stored())
        if self._below is None:
            return mine
        its = self._below.allocated()
        return None if its is None else unite(mine, align_out(its, SECTOR, within=self.capacity))

    def read_into(self, start: int, buffer: memoryview) -> None:
        if start < 0 or start + len(buffer) > self.capacity:
            raise ValueError(f"bytes {start} to {start + len(buffer)} are beyond the disk's {self.capacity}")
        for part in self._tables.parts(start, start + len(buffer)):
            self._fill(part, buffer[part.start - start : part.stop - start])

    def _fill(self, part: Part, buffer: memoryview) -> None:
        if part.kind is Kind.DATA:
            self._file.read_into(part.place, buffer)
        elif part.kind is Kind.COMPRESSED:
            first = part.start // self._cluster * self._cluster
            data = self._compressed.cluster(part.place, first)
            buffer[:] = data[part.start - first : part.stop - first]
        elif part.kind is Kind.NOWHERE and self._below is not None:
            known = max(0, min(len(buffer), self._below.capacity - part.start))
            if known:
                self._below.read_into(part.start, buffer[:known])
            buffer[known:] = bytes(len(buffer) - known)
        else:
            buffer[:] = bytes(len(buffer))


class _RawBelow:
    """A raw backing file."""

    def __init__(self, file: ImageFile) -> None:
        self._file = file
        self.capacity = file.size

    def read_into(self, start: int, buffer: memoryview) -> None:
        self._file.read_into(start, buffer)

    def allocated(self) -> Extents | None:
        return self._file.stored()


def open_qcow2(path: Path, *, file: ImageFile | None = None) -> Qcow2Source:
    """Open a qcow2 image for reading, with the backing files that it needs.

    :param file: the image, if it is a part of another file. Its backing file is looked for beside ``path``.
    :raises NotFoundError: the image or a backing file is missing.
    :raises UsageError: the image is damaged, or its chain leads out of its folder or back to itself.
    :raises UnsupportedError: the image has a feature that cannot be read.
    """
    with OpenFiles() as opened:
        image = _open(opened.add(file or ImageFile(path)), opened, ())
        return Qcow2Source(image, opened)


def _open(file: ImageFile, opened: OpenFiles, above: tuple[tuple[int, int], ...]) -> _Image:
    if file.identity in above:
        raise UsageError(f"{file.name}: its backing files lead back to itself")
    if len(above) >= _LONGEST_CHAIN:
        raise UsageError(f"{file.name}: has more than {_LONGEST_CHAIN} backing files below each other")
    opening = read_opening(file)
    below = _open_below(file, opening, opened, (*above, file.identity)) if opening.backing is not None else None
    return _Image(file, opening, below)


def _open_below(file: ImageFile, opening: Opening, opened: OpenFiles, above: tuple[tuple[int, int], ...]) -> _Below:
    path = neighbour(file.path, opening.backing or "", what="backing file", remedy="qemu-img rebase -u")
    kind = opening.backing_format
    if kind is None:
        raise UsageError(
            f"{file.name}: does not tell the format of its backing file {path.name}: tell it by "
            f"'qemu-img rebase -u -b {path.name} -F FORMAT {file.path}'"
        )
    if kind not in ("raw", "qcow2"):
        raise UnsupportedError(f"{file.name}: its backing file has the format {kind}: join them by 'qemu-img convert'")
    below = opened.add(ImageFile(path))
    return _open(below, opened, above) if kind == "qcow2" else _RawBelow(below)
