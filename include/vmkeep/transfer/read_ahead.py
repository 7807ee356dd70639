"""Sees who reads a disk on and on, and names the blocks that will be wanted next.

A *stream* is a reader that moves forward, known only by the places that it reads: several clients may share a
connection, and one client may read by several. Holes between its reads do not end a stream, because clients that know
of holes leave them out.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from vmkeep.repository import ZERO, DiskMap

_STREAMS: Final = 16
"""Streams of one disk that are known at a time."""
_FIRST: Final = 4
"""Blocks that are read ahead of a stream that is new. Twice as many each time, up to the most."""
_LOOKED: Final = 1024
"""Blocks among which the next stored ones are looked for. Their places are in 16 pages of the map."""
_SEEN: Final = 2
"""Steps forward after which a reader counts as a stream."""
_NEAR: Final = 16
"""Blocks by which a read may be before or behind the place where its stream is."""


class _Stream:
    __slots__ = ("ahead", "last", "steps", "wanted")

    def __init__(self, last: int) -> None:
        self.last = last
        """The last block that was read."""
        self.steps = 0
        self.wanted = _FIRST
        self.ahead: deque[int] = deque()
        """Stored blocks that were named and not read yet."""


class ReadAhead:
    """The streams of one disk. Not thread-safe."""

    def __init__(self, disk: DiskMap, *, most: int) -> None:
        """Know no stream yet.

        :param most: the greatest number of blocks to name ahead of one stream.
        """
        self._disk = disk
        self._most = most
        self._streams: deque[_Stream] = deque(maxlen=_STREAMS)

    def after(self, first: int, stop: int) -> list[tuple[int, bytes]]:
        """Note that blocks are read now. Return the numbers and digests of stored blocks to read ahead.

        :raises CorruptError: a page of the map is damaged.
        """
        if self._most < _FIRST:
            return []
        stream = self._stream_at(first, stop)
        if stream is None:
            self._streams.append(_Stream(stop - 1))
            return []
        self._streams.remove(stream)
        self._streams.append(stream)  # the one that moved last is dropped last
        if stop - 1 <= stream.last:
            return []
        stream.last = stop - 1
        stream.steps += 1
        while stream.ahead and stream.ahead[0] < stop:
            stream.ahead.popleft()
        if stream.steps < _SEEN or len(stream.ahead) > stream.wanted // 2:
            return []
        begin = max(stop, stream.ahead[-1] + 1 if stream.ahead else 0)
        named = list(islice(self._disk.blocks(begin, begin + _LOOKED), stream.wanted - len(stream.ahead)))
        stream.ahead.extend(block for block, _ in named)
        stream.wanted = min(self._most, 2 * stream.wanted)
        return named

    def _stream_at(self, first: int, stop: int) -> _Stream | None:
        """Return the stream that comes to some blocks; ``None``: there is none, so that a new one may begin here."""
        near = [stream for stream in self._streams if _is_near(stream, first, stop)]
        if near:
            return min(near, key=lambda stream: abs(first - stream.last - 1))
        before = [stream for stream in self._streams if stream.last < first]
        stream = max(before, key=lambda stream: stream.last, default=None)
        if stream is None or not self._only_hole(stream.last + 1, first):
            return None
        return stream

    def _only_hole(self, first: int, stop: int) -> bool:
        # A walk reads pages far ahead, so first look where a random reader's neighbour is: mostly it is stored.
        return self._disk.lookup(first) == ZERO and next(self._disk.blocks(first, stop), None) is None


def _is_near(stream: _Stream, first: int, stop: int) -> bool:
    """Return whether a read belongs to a stream. Reads that are in flight together may swap places."""
    if stop - 1 > stream.last:
        return first <= stream.last + 1 + _NEAR
    return stream.last - first <= (_NEAR if stream.steps >= _SEEN else 0)
