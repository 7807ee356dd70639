"""Moves frames that are still reached out of packs with much waste, or many small ones, into new packs.

Frames keep their compressed form, and each is checked against its digest on the way. A damaged frame stays where it is,
because another copy of it may still be found. The caller is told its pack, which must then not be condemned. Deletes
nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field

from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.reachability import LiveFrame
from vmkeep.model.job import Progress
from vmkeep.repository import BlockWriter, ReadBuffers, Repository
from vmkeep.repository.checks import MAX_RAW
from vmkeep.repository.frames import HEADER_SIZE, Box, Packed, pack_key, parse_header

_READ = 4 << 20
"""Limit up to which neighbouring frames are read together, in bytes."""
_FLUSHED = 1 << 30
"""Bytes after which the moved frames are made findable. A crash repeats at most this much work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """The outcome for the rewritten packs."""

    packs: int = 0
    bytes_stored: int = 0
    damaged: dict[bytes, str] = field(default_factory=dict)
    """Pack → what is wrong with it, for packs that have to stay."""
    no_room: str = ""
    """Why packs stay: the store is full. Empty if it was not."""

    def after(self, earlier: Rewritten) -> Rewritten:
        """Return this outcome together with that of packs that were rewritten before."""
        return Rewritten(
            packs=earlier.packs + self.packs,
            bytes_stored=earlier.bytes_stored + self.bytes_stored,
            damaged=earlier.damaged | self.damaged,
            no_room=self.no_room,
        )


def rewrite(
    repository: Repository,
    frames: dict[bytes, list[LiveFrame]],
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Rewritten:
    """Copy frames out of packs that a plan has condemned. Without a plan, the writer would find them stored already.

    :param frames: pack → its live frames, sorted by offset.
    """
    total = sum(frame.length for group in frames.values() for frame in group)
    damaged: dict[bytes, str] = {}
    done = since = 0
    scratch = ReadBuffers()
    run = f"rewrite-{secrets.token_hex(8)}"
    with repository.at_work(run) as begun, repository.open_mover(run=run, begun=begun) as writer:
        for pack, group in frames.items():
            try:
                for packed in _read(repository, pack, group, scratch):
                    since += writer.move(packed)
                    done += HEADER_SIZE + len(packed.payload)
                    on_progress(_progress(done, total, writer))
            except CorruptError as error:
                damaged[pack] = str(error)
            if since > _FLUSHED:
                writer.flush()
                since = 0
        writer.flush()
        return Rewritten(packs=len(frames) - len(damaged), bytes_stored=writer.bytes_stored, damaged=damaged)


def _progress(done: int, total: int, writer: BlockWriter) -> Progress:
    return Progress(phase="rewrite", bytes_done=min(done, total), bytes_total=total, bytes_stored=writer.bytes_stored)


def _read(repository: Repository, pack: bytes, frames: Sequence[LiveFrame], scratch: ReadBuffers) -> Iterator[Packed]:
    """Yield the good frames of one pack. If any frame is damaged, raise for the first one, after all good ones."""
    key = pack_key(pack)
    box = repository.framer.box(key)
    wrong: CorruptError | None = None
    for group in _neighbours(frames):
        start = group[0].offset
        view = scratch.take(0, group[-1].offset + group[-1].length - start)
        view = view[: group[-1].offset + group[-1].length - start]
        try:
            view = view[: repository.blobs.get_into(key, start, view)]
        except BlobNotFoundError:
            return  # another prune has swept this pack, after moving everything that is needed
        for frame in group:
            at = frame.offset - start
            try:
                yield _unpacked(box, frame, view[at : at + frame.length], scratch)
            except CorruptError as error:
                wrong = CorruptError(f"{key}: frame at byte {frame.offset} is damaged: {error}")
    if wrong is not None:
        raise wrong


def _unpacked(box: Box, frame: LiveFrame, stored: memoryview, scratch: ReadBuffers) -> Packed:
    header = parse_header(stored)
    if header.digest != frame.digest or header.frame_length != len(stored) or header.raw_length > MAX_RAW:
        raise CorruptError("is not the one that the index says")
    return box.unpack(header, stored[HEADER_SIZE:], scratch.take(1, header.raw_length))


def _neighbours(frames: Sequence[LiveFrame]) -> Iterator[list[LiveFrame]]:
    """Group frames that one request can read."""
    group: list[LiveFrame] = []
    for frame in frames:
        if group and (
            frame.offset + frame.length - group[0].offset > _READ
            or frame.offset - group[-1].offset - group[-1].length > _READ // 8
        ):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group
