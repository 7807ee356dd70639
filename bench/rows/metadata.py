"""Metadata of an incremental of a large disk: a map in which no two blocks are alike, and 1 % of all blocks changed.

The disk is a sparse file; what its map says of unchanged blocks was never stored, for an incremental asks nobody. Each
changed block has one page of its own and zeros: little to compress, so that the copy takes seconds. Digests, pages,
index and footers are as those of real data.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from bench.contestant import BLOCK, remove
from bench.measure import GIB, Command, Stopwatch, say
from bench.programs import VMKEEP
from bench.report import Finding, Row
from bench.stores import blob_bytes, written
from vmkeep.model.imagekeys import image_key
from vmkeep.repository import open_repository

_RUNS = {"in runs of 16 MiB": 64, "each block by itself": 1}
"""Number of neighbouring blocks that change together."""
_AT_ONCE = 4096
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """Incrementals of one simulated disk."""

    stopwatch: Stopwatch
    folder: Path
    capacity: int

    def run(self) -> list[Row]:
        """Return the row ``metadata``; it is about bytes, so one round is enough."""
        blocks = self.capacity // BLOCK
        changed = blocks // 100
        title = f"Metadata of an incremental: 1 % of the {blocks:,} blocks of {self.capacity / GIB:,.0f} GiB changed"
        row = Row(name="metadata", title=title, size=changed * BLOCK, of="what changed")
        for name, length in _RUNS.items():
            say(f"metadata, {name} …")
            repository, image = self.folder / "metadata", self.folder / "large.raw"
            extents = _make_image(image, self.capacity, changed, length)
            where = ["--repository", str(repository), "--json"]
            _call("repo", "init", *where)
            parent = _make_parent(repository, image, where)
            listed = image.with_suffix(".json")
            listed.write_text(json.dumps(extents), encoding="ascii")
            before = blob_bytes(repository)
            argv = [VMKEEP, "image", "import", *where, str(image), "--name", "disk", "--since", parent]
            row.add(f"vmkeep, {name}", self.stopwatch.run(Command(argv=[*argv, "--extents", str(listed)])))
            _judge(row, name, written(before, blob_bytes(repository)), changed)
            remove(repository, image, listed)
        return [row]


def _judge(row: Row, name: str, wrote: tuple[int, int, str], changed: int) -> None:
    """Headers of frames and footers of data packs are not counted: they are 92 bytes a block."""
    _, metadata, words = wrote
    each = metadata / changed
    row.notes.append(
        f"{name}: {words}; {each:.0f} bytes for a changed block, so {MB / each:,.0f} blocks take a megabyte"
    )
    row.findings.append(Finding(f"metadata of 1 % changed, {name}", "≤ 1 MB", f"{metadata / MB:.2f} MB"))


def _make_image(image: Path, capacity: int, changed: int, length: int) -> list[tuple[int, int]]:
    """Make the disk as it is now; return where it has changed."""
    chance = random.Random(1)  # noqa: S311
    rows = capacity // (BLOCK * length)
    starts = sorted(chance.sample(range(rows), -(-changed // length)))
    with image.open("wb") as file:
        file.truncate(capacity)
        for start in starts:
            for block in range(start * length, (start + 1) * length):
                file.seek(block * BLOCK)
                file.write(chance.randbytes(4096))
    return [(start * length * BLOCK, length * BLOCK) for start in starts]


def _make_parent(repository: Path, image: Path, where: Sequence[str]) -> str:
    """Seal a point of the disk whose map has a digest of its own for every block; return its ref."""
    empty = image.with_name("empty.raw")
    with empty.open("wb") as file:
        file.truncate(image.stat().st_size)
    _call("image", "import", *where, str(empty), "--name", "disk")
    remove(empty)
    with open_repository(str(repository)) as opened:
        point = opened.latest_point(image_key("disk"))
        assert point is not None
        with opened.open_writer(run="metadata") as writer:
            builder = opened.build_map(writer, capacity=image.stat().st_size)
            for first, digests in _random_digests(builder.shape.blocks):
                builder.set(first, digests)
                builder.close_below(first)
            root = builder.store()
            writer.flush()
        images = (replace(point.images[0], root=root),)
        later = point.taken_at + timedelta(seconds=1)
        made = replace(point, id="f" * len(point.id), run="metadata", taken_at=later, images=images)
        return opened.seal(made, begun=writer.begun)  # else it would look for the blocks, which are nowhere


def _random_digests(blocks: int) -> Iterator[tuple[int, list[bytes]]]:
    for first in range(0, blocks, _AT_ONCE):
        drawn = os.urandom(32 * min(_AT_ONCE, blocks - first))
        yield first, [drawn[at : at + 32] for at in range(0, len(drawn), 32)]


def _call(*arguments: str) -> None:
    subprocess.run([VMKEEP, *arguments], check=True, capture_output=True)
