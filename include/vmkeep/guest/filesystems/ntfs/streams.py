"""The clusters of an attribute, by its lists of runs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.ntfs.boot import Boot
from vmkeep.guest.filesystems.ntfs.pieces import Piece
from vmkeep.guest.filesystems.volume import Volume

_COMPRESSED: Final = 0x00FF
_ENCRYPTED: Final = 0x4000


class Stream:
    """An attribute's value: in its record, or in clusters."""

    def __init__(
        self, volume: Volume, boot: Boot, pieces: tuple[Piece, ...], *, what: str, is_beginning: bool = False
    ) -> None:
        """Check that the pieces are a whole attribute.

        :param is_beginning: pieces are missing, and its size is cut to those that lie before the first gap.
        :raises CorruptError: they are not.
        """
        self._volume = volume
        self._boot = boot
        self._pieces = pieces
        self.what = what
        if not pieces:
            raise volume.damaged(f"{what} does not exist")
        self.resident = pieces[0].value if pieces[0].is_resident else None
        """The value, if it lies in the record."""
        head = pieces[0].raw
        (flags,) = struct.unpack_from("<H", head, 12)
        self.is_encrypted = bool(flags & _ENCRYPTED)
        self.unit = 0
        """Clusters that are compressed together; 0: none are."""
        if self.resident is not None:
            self.size = self.written = len(self.resident)
            return
        _, self.size, self.written = struct.unpack_from("<QQQ", head, 40)
        if flags & _COMPRESSED:
            self.unit = 1 << min(head[34], 16)
        expected = 0
        for at, piece in enumerate(pieces):
            first, last = struct.unpack_from("<QQ", piece.raw, 16)
            if piece.is_resident or first != expected:
                if is_beginning and at:
                    self._pieces = pieces[:at]
                    break
                raise volume.damaged(f"a part of {what} is missing")
            expected = (last + 1) & 0xFFFFFFFFFFFFFFFF
        if is_beginning:
            self.size, self.written = (min(each, expected * boot.cluster) for each in (self.size, self.written))
        if self.size > expected * boot.cluster:
            raise volume.damaged(f"{what} has {self.size} bytes, but clusters for only {expected * boot.cluster}")

    def clusters(self, first: int = 0) -> Iterator[tuple[int, int, int | None]]:
        """Yield the first cluster, the number of clusters and their place on the volume, for each run.

        :param first: begin with the run that holds this cluster.
        """
        for piece in self._pieces:
            start, last = struct.unpack_from("<QQ", piece.raw, 16)
            if last < first and start <= last:
                continue
            yield from (run for run in self._decode(piece, start, last) if run[0] + run[1] > first)

    def _decode(self, piece: Piece, at: int, last: int) -> Iterator[tuple[int, int, int | None]]:
        raw = piece.raw
        (offset,) = struct.unpack_from("<H", raw, 32)
        place = 0
        while offset < len(raw) and raw[offset]:
            for_count, for_place = raw[offset] & 0xF, raw[offset] >> 4
            middle = offset + 1 + for_count
            stop = middle + for_place
            count = int.from_bytes(raw[offset + 1 : middle], "little")
            if stop > len(raw) or not count:
                break
            if for_place:
                place += int.from_bytes(raw[middle:stop], "little", signed=True)
                if not 0 <= place <= place + count <= self._boot.clusters + 1:
                    raise self._volume.damaged(f"{self.what} lies in the clusters {place} to {place + count}")
            yield at, count, place if for_place else None
            at += count
            offset = stop
        if at != (last + 1) & 0xFFFFFFFFFFFFFFFF:
            raise self._volume.damaged(f"the list of the clusters of {self.what} contradicts its header")

    def runs(self, offset: int = 0) -> Iterator[Run]:
        """Yield the runs in bytes, from the one that holds a byte on, up to the last byte that was written."""
        size = self._boot.cluster
        for first, count, place in self.clusters(offset // size):
            if first * size >= self.written:
                return
            length = min(count * size, self.written - first * size)
            yield Run(first * size, length, None if place is None else place * size)

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of a stream that is neither compressed nor sparse there.

        :raises CorruptError: they are missing.
        """
        if self.resident is not None:
            return self.resident[start : start + length]
        parts = []
        at = start
        for run in self.runs(start):
            if run.place is None or run.start > at or at == start + length:
                break
            count = min(start + length, run.start + run.length) - at
            parts.append(self._volume.read(run.place + at - run.start, count))
            at += count
        if at < start + length:
            raise self._volume.damaged(f"the bytes {at} to {start + length} of {self.what} are missing")
        return b"".join(parts)
