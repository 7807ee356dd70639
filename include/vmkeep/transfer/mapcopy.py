"""Copies the map of one disk to another repository: it reads only the missing content, and checks all of it.

Two repositories without encryption name equal content equally, so that blocks which the target has are not even read.
With other keys every name differs, and content is named anew. Then blocks of an earlier copy are found by comparing two
maps of the *source*; they keep their place in the target's map. This module knows no restore points:
``flows.copied_point`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

from vmkeep.errors import CorruptError, StaleError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import Progress
from vmkeep.repository import ZERO, BlockWriter, DiskMap, Kind, MapBuilder, Repository, share_digests
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.reading import DiskReading

_AT_ONCE = 16384
"""Number of changed blocks that are read together. Their map pages are stored before the next ones are read."""
_FLUSHED_AT = 16 * _AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBase:
    """A disk that both repositories already hold."""

    source_root: str
    """Root of its map in the source. With equal digests this map is read in the target too."""
    target_root: str
    """Root of its map in the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedMap:
    """A copied map. It is durable and findable after the writer is flushed."""

    root: str
    """Root of the map in the target."""
    blocks_changed: int
    """Number of blocks that the base does not have."""
    bytes_read: int
    """Bytes of those blocks among them that had to be read: the target lacked them, or they were named anew."""


class MapCopy:
    """The copy of one map into a target that has been opened for writing."""

    def __init__(
        self,
        source: Repository,
        target: Repository,
        root: str,
        *,
        base: CopyBase | None = None,
        what: str = "disk",
    ) -> None:
        """Open the maps.

        :param base: the disk to start from. One that is larger, or has blocks of another size, is not used.
        :param what: the disk's name in errors.
        :raises CorruptError: a map's root is lost or damaged in the source.
        :raises StaleError: the base is lost or damaged.
        """
        self._source = source
        self._target = target
        self._same = share_digests(source, target)
        self._what = what
        self._disk = source.open_map(root, what=what)
        self._old: DiskMap | None = None
        self._base: DiskMap | None = None
        if base is not None:
            with _building_on_base(what):
                opened = target.open_map(base.target_root)
                old = opened if self._same else source.open_map(base.source_root)
            if opened.block_size == self._disk.block_size and opened.capacity <= self._disk.capacity:
                self._base, self._old = opened, old

    def plan(self, knows: Callable[[bytes], bool]) -> tuple[int, int]:
        """Return the number of blocks and bytes that have to be read. Only metadata is read for this.

        :param knows: tells whether the target has a block, by the target's digest.
        """
        count = size = 0
        for block, digest in self._differences():
            if not self._settled(digest, knows):
                count += 1
                size += self._disk.shape.block_length(block)
        return count, size

    def run(
        self,
        writer: BlockWriter,
        *,
        on_read: Callable[[int], None] = lambda _count: None,
        check: Callable[[], None] = lambda: None,
    ) -> CopiedMap:
        """Copy the missing blocks and the map.

        :param on_read: called now and then with the number of bytes read so far.
        :param check: called now and then. An error that it raises ends the copy.
        :raises CorruptError: a page or block in the source is damaged. The message names it, and the byte of the disk.
        :raises StaleError: the base is gone meanwhile, or is damaged.
        """
        builder = self._target.build_map(writer, capacity=self._disk.capacity, base=self._base)
        check = _ending_waits(writer, check)
        changed = read = unflushed = 0
        differences = self._differences()
        while part := list(islice(differences, _AT_ONCE)):
            check()
            read += self._bring(part, builder, writer, partial(_report, on_read, read), check)
            changed += len(part)
            with _building_on_base(self._what):
                builder.close_below(part[-1][0] + 1)
            if (unflushed := unflushed + len(part)) >= _FLUSHED_AT:
                writer.flush(check)  # because it remembers all that it stored since the last flush
                unflushed = 0
        with _building_on_base(self._what):
            root = builder.store()
        if self._same and root != self._disk.root:
            raise CorruptError(f"{self._what}: the copy's map is {root[:16]}…, not {self._disk.root[:16]}…")
        return CopiedMap(root=root, blocks_changed=changed, bytes_read=read)

    def _differences(self) -> Iterator[tuple[int, bytes]]:
        try:
            yield from self._disk.differences(self._old)
        except CorruptError as error:
            raise CorruptError(f"{self._what}, {error}") from error

    def _settled(self, digest: bytes, knows: Callable[[bytes], bool]) -> bool:
        """Return whether a block need not be read, because it is zeros or the target has it."""
        return digest == ZERO or (self._same and knows(digest))

    def _bring(
        self,
        part: Sequence[tuple[int, bytes]],
        builder: MapBuilder,
        writer: BlockWriter,
        on_progress: OnProgress,
        check: Callable[[], None],
    ) -> int:
        """Set some blocks in the target's map, after reading and storing the missing ones. Return the bytes read."""
        missing = []
        for block, digest in part:
            if self._settled(digest, writer.knows):
                with _building_on_base(self._what):
                    builder.set(block, [digest])
            else:
                missing.append((block, digest))
        if not missing:
            return 0
        digester = self._target.framer.digester

        def store(block: int, content: memoryview) -> None:
            digest = digester.of(Kind.BLOCK, content)
            writer.add(Kind.BLOCK, digest, content)
            with _building_on_base(self._what):
                builder.set(block, [digest])

        reading = DiskReading(
            self._disk,
            self._source.open_blocks(),
            what=self._what,
            phase="copy",
            on_progress=on_progress,
            check=check,
            chosen=missing,
        )
        reading.run(store)
        return reading.size


@contextmanager
def _building_on_base(what: str) -> Iterator[None]:
    """Turn damage of the base into a StaleError, because the disk itself is whole and can be copied without a base."""
    try:
        yield
    except CorruptError as error:
        raise StaleError(f"{what}: the earlier copy that this one builds upon is damaged, or gone: {error}") from error


def _ending_waits(writer: BlockWriter, check: Callable[[], None]) -> Callable[[], None]:
    """Return a check whose error also ends the waits for other writers, because threads that add may stand in them."""

    def checked() -> None:
        try:
            check()
        except BaseException:
            writer.wait_for_nobody()
            raise

    return checked


def _report(on_read: Callable[[int], None], before: int, event: Progress) -> None:
    on_read(before + event.bytes_done)
