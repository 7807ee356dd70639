"""Moves what is still reached out of packs that are mostly waste, into new packs with a segment of their own.

Frames keep their compressed form; each is checked against its digest on the way. A damaged one stays where it is, for
a copy of it may still be found elsewhere: its pack is told to the caller, and not to be condemned. Deletes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.maintenance.reachability import LiveFrame
from vmkeep.model.job import Progress
from vmkeep.repository import BlockWriter, ReadBuffers, Repository
from vmkeep.repository.checks import MAX_RAW
from vmkeep.repository.frames import HEADER_SIZE, Box, Packed, pack_key, parse_header

_READ = 4 << 20
"""Bytes up to which neighbouring frames are read together."""
_FLUSHED = 1 << 30
"""Bytes after which what was moved is made findable: a crash costs no more than that again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """The outcome for some packs."""

    packs: int = 0
    bytes_stored: int = 0
    damaged: dict[bytes, str] = field(default_factory=dict)
    """Pack → what is wrong, of packs that have to stay."""
    no_room: str = ""
    """Why all of them stay: the store is full."""


def rewrite(
    repository: Repository,
    frames: dict[bytes, list[LiveFrame]],
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Rewritten:
    """Copy frames out of packs that a plan has condemned; without a plan they would be found where they are.

    :param frames: pack → its live frames, in the order of their offsets.
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
    """Yield the frames of one pack that are good; raise for the first that is not, once all others are out."""
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
            return  # swept meanwhile by another prune, which has moved all that is needed
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
    """Group frames that are read by one request."""
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
