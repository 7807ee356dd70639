"""Files, folders, links and streams of NTFS by their records."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.filesystems.content import (
    Content,
    FileContent,
    HeldContent,
    extents_of,
    print_of_whole,
    prints_of_runs,
)
from vmkeep.guest.filesystems.ntfs.boot import Boot, read_boot
from vmkeep.guest.filesystems.ntfs.compression import CompressedContent
from vmkeep.guest.filesystems.ntfs.folders import names_in
from vmkeep.guest.filesystems.ntfs.links import Link, parse_link
from vmkeep.guest.filesystems.ntfs.records import (
    DATA,
    EXTENDED,
    FILE_NAME,
    REPARSE_POINT,
    STANDARD_INFORMATION,
    Record,
    Table,
)
from vmkeep.guest.filesystems.ntfs.state import read_state
from vmkeep.guest.filesystems.ntfs.streams import Stream
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.values import utf16_name, windows_moment
from vmkeep.guest.filesystems.volume import MOST_AT_ONCE, Volume
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import Prints

_ROOT: Final = 5
_EXTEND: Final = "$Extend"
_OWN: Final = {
    "$MFT": 0, "$MFTMirr": 1, "$LogFile": 2, "$Volume": 3, "$AttrDef": 4, ".": _ROOT, "$Bitmap": 6, "$Boot": 7,
    "$BadClus": 8, "$Secure": 9, "$UpCase": 10,
}  # fmt: skip
"""Names in the root that are NTFS's own, with their records. They are not listed."""
_BAD_CLUSTERS: Final = "$Bad"
_OWN_STREAMS: Final = frozenset(((6, "$SRAT"), (8, _BAD_CLUSTERS), (9, "$SDS"), (10, "$Info")))
"""Streams of those records that are NTFS's own. Somebody may have hidden others there."""
_RECORD_BITS: Final = (1 << 48) - 1
_DOS: Final = 2
_HIBERNATED: Final = frozenset((b"hibr", b"HIBR"))
_LONGEST_REPARSE_POINT: Final = 1 << 16
_SYSTEM: Final = 0x4
_LINK_OF_LINUX: Final = b"IntxLNK\x01"


@dataclass(frozen=True, slots=True)
class NtfsNode:
    """A record, or one of its alternate data streams."""

    reference: int
    stream: str = ""


def open_ntfs(volume: Volume) -> FileTree[NtfsNode]:
    """Open an NTFS.

    :raises CorruptError: there is none, or it contradicts itself.
    """
    boot = read_boot(volume)
    table = Table(volume, boot)
    reader = NtfsReader(volume, boot, table)
    reader.warnings += read_state(volume, table).warnings
    tree = FileTree(reader, volume)
    if _is_hibernated(reader, tree):
        reader.warnings.append("Windows was hibernated: files that it still had in memory may be missing or old.")
    return tree


def _is_hibernated(reader: NtfsReader, tree: FileTree[NtfsNode]) -> bool:
    """Tell whether Windows was hibernated. Who lists the root folder gets the errors in it."""
    try:
        found = next((name for name, _ in reader.children(reader.root()) if name.lower() == "hiberfil.sys"), None)
        return found is not None and tree.open(f"/{found}").read(4) in _HIBERNATED
    except (CorruptError, NotFoundError, UnsupportedError):
        return False


class NtfsReader:
    """An NTFS; see :class:`vmkeep.guest.filesystems.tree.NodeReader`."""

    kind = "ntfs"
    folds_case = True
    own_folders: tuple[str, ...] = (_EXTEND,)

    def __init__(self, volume: Volume, boot: Boot, table: Table) -> None:
        self.warnings: list[str] = []
        self._volume = volume
        self._boot = boot
        self._table = table

    def root(self) -> NtfsNode:
        """Return the root folder."""
        return NtfsNode(_ROOT)

    def is_folder(self, node: NtfsNode) -> bool:
        """Return whether a node is a folder. A junction is none, but a link."""
        return not node.stream and self._kind(self._table.follow(node.reference)) is FileKind.FOLDER

    def children(self, node: NtfsNode) -> Iterator[tuple[str, NtfsNode]]:
        """Yield the names in a folder with their nodes, each with its alternate data streams behind it.

        The streams of the root folder, which is in no folder, come first, as ``:STREAM``. NTFS's own files in it are
        left out, unless they have streams that NTFS did not make.
        """
        is_root = node == self.root()
        if is_root:
            yield from ((f":{stream}", NtfsNode(_ROOT, stream)) for stream in self._streams(self._table.follow(_ROOT)))
        for name, reference in names_in(self._volume, self._table, self._table.follow(node.reference)):
            is_own = is_root and _OWN.get(name) == reference & _RECORD_BITS
            if is_own and reference & _RECORD_BITS == _ROOT:
                continue
            if not is_own:
                yield name, NtfsNode(reference)
            try:
                record = self._table.follow(reference)
                streams = [each for each in self._streams(record) if not is_own or self._is_strange(record, each)]
            except CorruptError:  # who describes the file gets the error; the other names are good
                if is_own:
                    yield name, NtfsNode(reference)
                continue
            for stream in streams:
                yield f"{name}:{stream}", NtfsNode(reference, stream)

    def _is_strange(self, record: Record, stream: str) -> bool:
        """Return whether a stream of one of NTFS's own files is none that NTFS makes, or holds more than it should.

        The stream of bad clusters is as large as the volume and a hole, unless the disk has such clusters.
        """
        if (record.number, stream) not in _OWN_STREAMS:
            return True
        return stream == _BAD_CLUSTERS and any(
            place is not None for _, _, place in self._table.stream(record, DATA, stream).clusters()
        )

    def _streams(self, record: Record) -> list[str]:
        return sorted({piece.name for piece in record.pieces if piece.type == DATA and piece.name})

    def _link(self, record: Record) -> Link | None:
        if not record.of(REPARSE_POINT):
            return self._link_of_linux(record)
        stream = self._table.stream(record, REPARSE_POINT)
        return parse_link(stream.read(0, min(stream.size, _LONGEST_REPARSE_POINT)))

    def _link_of_linux(self, record: Record) -> Link | None:
        """Return the symbolic link that NTFS-3G made by a system file with a certain beginning."""
        information = record.value(STANDARD_INFORMATION)
        data = record.value(DATA)
        if not information or len(information) < 36 or not information[32] & _SYSTEM or not data:
            return None
        if not data.startswith(_LINK_OF_LINUX) or len(data) % 2:
            return None
        return Link(FileKind.SYMLINK, utf16_name(data[len(_LINK_OF_LINUX) :]), "")

    def _kind(self, record: Record) -> FileKind:
        link = self._link(record)
        if link is not None and link.kind is not None and not self._hides_data(record):
            return link.kind
        return FileKind.FOLDER if record.is_folder else FileKind.FILE

    def _hides_data(self, record: Record) -> bool:
        """Return whether a reparse point of a link or a device has data beside it, which no such thing needs."""
        return bool(record.of(REPARSE_POINT)) and self._size(record, "") > 0

    def describe(self, path: str, node: NtfsNode) -> FileEntry:
        """Return the entry of a record, or of a stream."""
        record = self._table.follow(node.reference)
        link = self._link(record)
        kind = FileKind.FILE if node.stream else self._kind(record)
        target = link.target if link is not None and kind is FileKind.SYMLINK else None
        information = record.value(STANDARD_INFORMATION)
        if information is None or len(information) < 36:
            raise self._volume.damaged(f"{path}: the record {record.number} does not tell its times")
        created, modified, changed = struct.unpack_from("<3Q", information)
        return FileEntry(
            path=path,
            kind=kind,
            size=self._size(record, node.stream) if kind is FileKind.FILE else len(target or ""),
            modified=windows_moment(modified),
            changed=windows_moment(changed),
            created=windows_moment(created),
            target=target,
            identity=None if node.stream else record.number,
            links=1 if node.stream else max(1, self._names(record)),
        )

    def _names(self, record: Record) -> int:
        """Return how many names a file has, without those of eight and three letters beside a long one."""
        values = (piece.value for piece in record.of(FILE_NAME) if piece.is_resident)
        return sum(len(value) > 65 and value[65] != _DOS for value in values)

    def _size(self, record: Record, stream: str) -> int:
        if not record.of(DATA, stream):
            return 0
        return self._table.stream(record, DATA, stream).size

    def _stream(self, path: str, node: NtfsNode) -> Stream | None:
        """Return a file's stream; ``None``: it has none, as a file that was never written.

        :raises UnsupportedError: the stream cannot be read.
        """
        record = self._table.follow(node.reference)
        link = self._link(record)
        if link is not None and link.refusal and not node.stream:
            raise self._volume.refused(f"{path}: {link.refusal}")
        if not record.of(DATA, node.stream):
            return None
        stream = self._table.stream(record, DATA, node.stream)
        if stream.is_encrypted:
            raise self._volume.refused(f"{path}: it is encrypted (EFS), and the key is not in the backup")
        return stream

    def content(self, path: str, node: NtfsNode) -> io.RawIOBase:
        """Open the content of a file.

        :raises UnsupportedError: it is encrypted, or not on this volume.
        """
        stream = self._stream(path, node)
        if stream is None:
            return HeldContent(b"")
        return self._content(path, stream)

    def _content(self, path: str, stream: Stream) -> Content:
        if stream.resident is not None:
            return HeldContent(stream.resident)
        if stream.unit:
            return CompressedContent(self._volume, stream, self._boot.cluster, path)
        return FileContent(self._volume, stream.runs, stream.size)

    def extents(self, path: str, node: NtfsNode) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        stream = self._stream(path, node)
        if stream is None or not stream.size:
            return iter(())
        if stream.resident is not None or stream.unit:
            return iter((Extent(0, stream.size),))
        return extents_of(stream.runs(), stream.size)

    def prints(self, path: str, node: NtfsNode) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        stream = self._stream(path, node)
        if stream is None:
            return iter(())
        if stream.resident is not None:
            return print_of_whole(stream.size, (stream.resident,))
        if stream.unit:
            form = chain((stream.unit, self._boot.cluster, stream.size, stream.written), stream.runs())
            return print_of_whole(stream.size, form, prints_of_runs(self._volume, stream.runs(), stream.size))
        return prints_of_runs(self._volume, stream.runs(), stream.size)

    def attributes(self, node: NtfsNode) -> dict[str, bytes]:
        """Return what NTFS-3G shows by these names, and OS/2's extended attributes."""
        record = self._table.follow(node.reference)
        if node.stream:
            return {}
        values = {}
        information = record.value(STANDARD_INFORMATION)
        if information is not None and len(information) >= 36:
            values["system.ntfs_attrib"] = information[32:36]
        for name, kind in (("system.ntfs_reparse_data", REPARSE_POINT), ("system.ntfs_ea", EXTENDED)):
            if record.of(kind):
                stream = self._table.stream(record, kind)
                if stream.size > MOST_AT_ONCE:
                    raise self._wrong(record, name)
                values[name] = stream.read(0, stream.size)
        return values

    def _wrong(self, record: Record, name: str) -> CorruptError:
        return self._volume.damaged(f"the record {record.number}: {name} is too large")
