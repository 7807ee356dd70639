"""The small segments of a repository merged into one file of this machine's cache, so that each is opened only once.

Every new VM adds two small segments, and each step of a backup loads the index. A run merges them in the store at its
end, but not where the store locks them. There each step of the last VM of a window of a thousand would open two
thousand of them without this file.

The file names the segments whose entries it holds, and each of them was verified before it was merged. Only a file
whose own digest is right is believed, and only while the store lists every segment that it names. Nothing depends on
this file, as on nothing in :mod:`~vmkeep.repository.index.segmentcache`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from vmkeep.errors import CorruptError
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import DIGEST_SIZE, ID_SIZE, Framer, Kind
from vmkeep.repository.index.segmentcache import SegmentCache
from vmkeep.repository.index.segments import Segment

_NAME = "segments"
_HEADER = struct.Struct("<8sQ")
_MAGIC = b"VKMERGE\0"


class MergedSegments:
    """The one file of a repository. Any number of processes may use it at once."""

    def __init__(self, folder: Path, framer: Framer) -> None:
        self._files = SegmentCache(folder)
        self._framer = framer

    def load(self) -> tuple[Segment, frozenset[str]] | None:
        """Return the merged segment, and the keys of those whose entries it holds; ``None``: no whole file is here."""
        if (file := self._files.open(_NAME)) is None:
            return None
        try:
            with suppress(CorruptError, OSError, struct.error):
                return self._parsed(memoryview(os.pread(file, os.fstat(file).st_size, 0)))
        finally:
            os.close(file)
        return None

    def store(self, segment: Segment, keys: AbstractSet[str]) -> None:
        """Replace the file, if the disk has room and nobody else may write there."""
        ids = b"".join(bytes.fromhex(key.removeprefix(INDEX)) for key in keys)
        content = b"".join((_HEADER.pack(_MAGIC, len(keys)), ids, segment.content))
        digest = self._digest(content)

        def fill(file: int) -> None:
            with open(file, "wb", closefd=False) as stream:
                stream.write(digest)
                stream.write(content)

        if (file := self._files.add(_NAME, fill, sync=False)) is not None:
            os.close(file)

    def _parsed(self, data: memoryview) -> tuple[Segment, frozenset[str]]:
        digest, content = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
        magic, count = _HEADER.unpack_from(content)
        if magic != _MAGIC or digest != self._digest(content):
            raise CorruptError("not a whole file of merged segments")
        ids = content[_HEADER.size : (end := _HEADER.size + ID_SIZE * count)]
        keys = (f"{INDEX}{ids[at : at + ID_SIZE].hex()}" for at in range(0, len(ids), ID_SIZE))
        return Segment(content[end:]), frozenset(keys)

    def _digest(self, content: bytes | memoryview) -> bytes:
        return self._framer.digester.of(Kind.INDEX, content)
