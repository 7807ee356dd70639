"""Reads a qcow2 image, and the backing files beside it, as one disk."""

from __future__ import annotations

from pathlib import Path

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.neighbours import neighbour
from vmkeep.formats.openfiles import OpenFiles
from vmkeep.formats.qcow2.compressed import CompressedClusters
from vmkeep.formats.qcow2.header import SECTOR, Opening, read_opening
from vmkeep.formats.qcow2.tables import Kind, Part, Tables
from vmkeep.formats.reading import Chain, ImageSource
from vmkeep.model.extents import Extents, align_out, gather, unite
from vmkeep.model.wording import counted

_LONGEST_CHAIN = 64


class _Image:
    """One image of a chain, over the image below it."""

    def __init__(self, file: ImageFile, opening: Opening, below: Chain | None) -> None:
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


def open_qcow2(path: Path, *, file: ImageFile | None = None) -> ImageSource:
    """Open a qcow2 image for reading, with the backing files that it needs.

    :param file: the image, if it is a part of another file. Its backing file is looked for beside ``path``.
    :raises NotFoundError: the image or a backing file is missing.
    :raises UsageError: the image is damaged, or its chain leads out of its folder or back to itself.
    :raises UnsupportedError: the image has a feature that cannot be read.
    """
    with OpenFiles() as opened:
        image = _open(opened.add(file or ImageFile(path)), opened, ())
        return ImageSource(image, opened, notes=image.notes)


def _open(file: ImageFile, opened: OpenFiles, above: tuple[tuple[int, int], ...]) -> _Image:
    if file.identity in above:
        raise UsageError(f"{file.name}: its backing files lead back to itself")
    if len(above) >= _LONGEST_CHAIN:
        raise UsageError(f"{file.name}: has more than {_LONGEST_CHAIN} backing files below each other")
    opening = read_opening(file)
    below = _open_below(file, opening, opened, (*above, file.identity)) if opening.backing is not None else None
    return _Image(file, opening, below)


def _open_below(file: ImageFile, opening: Opening, opened: OpenFiles, above: tuple[tuple[int, int], ...]) -> Chain:
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
