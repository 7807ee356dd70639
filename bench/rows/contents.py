"""Full imports of disks that somebody names, and the cost of each level of zstd for their blocks.

Which level and which size of block are best depends on the data: programs, databases, video. So a site can measure its
own images, and nothing here is made up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zstandard

from bench.contestant import BLOCK, Contestant, remove
from bench.disk import BenchDisk
from bench.measure import GIB, Stopwatch, say, stored_bytes, touch_memory
from bench.report import Row

_LEVELS: Final = (-5, -1, 1, 3)
_SAMPLE: Final = 1 << 30
"""Bytes of each image whose blocks are compressed at each level."""


@dataclass(frozen=True, slots=True)
class ContentRows:
    """A row for each image."""

    stopwatch: Stopwatch
    contestants: Sequence[Contestant]
    images: Sequence[Path]

    def run(self, rounds: int) -> list[Row]:
        """Return the rows, named after the files."""
        return [self._row(image, rounds) for image in self.images]

    def _row(self, image: Path, rounds: int) -> Row:
        disk = BenchDisk(image, {})
        row = Row(
            name=f"contents {image.stem}", title=f"Full import of {image.stem}", size=disk.allocated,
            of="what of the image is allocated",
        )  # fmt: skip
        for number in range(rounds):
            turn = number % len(self.contestants)
            for contestant in (*self.contestants[turn:], *self.contestants[:turn]):
                if "full" not in contestant.steps:
                    continue
                contestant.prepare()
                before = stored_bytes(contestant.places)
                touch_memory(int(disk.allocated * 1.1))
                figure = self.stopwatch.run(contestant.command("full", disk))
                row.add(contestant.name, figure.holding(stored_bytes(contestant.places) - before))
                say(f"  {row.name:24} {contestant.name:18} {figure.wall:7.2f} s, {figure.cpu:7.2f} s CPU")
                remove(*contestant.places)
        row.notes.extend(_levels(image))
        return row


def _levels(image: Path) -> Iterator[str]:
    """Yield the CPU seconds and the size of the image's blocks, compressed one by one at some levels."""
    for level in _LEVELS:
        compressor = zstandard.ZstdCompressor(level=level)
        raw = stored = 0
        spent = 0.0
        for block in _blocks(image):
            began = time.thread_time()
            stored += min(len(block), len(compressor.compress(block)))
            spent += time.thread_time() - began
            raw += len(block)
        yield f"zstd {level}: {spent * GIB / raw:.2f} CPU s/GiB, to {stored / raw:.3f} of the size"


def _blocks(image: Path) -> Iterator[bytes]:
    """Yield the blocks of an image that are not zeros, up to the sample's size."""
    left = _SAMPLE
    with image.open("rb") as file:
        while left > 0 and (block := file.read(BLOCK)):
            if block.count(0) != len(block):
                left -= len(block)
                yield block
