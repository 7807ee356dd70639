"""Machines whose disks an export may get wrong: odd sizes, holes, ends beyond limits of formats, and many disks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
TIB: Final = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a disk that are no zeros."""

    start: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDisk:
    """A disk, of which everything outside its pieces is a hole."""

    capacity: int
    pieces: tuple[Piece, ...] = ()

    def write(self, path: Path) -> Path:
        """Write the disk as a sparse raw file, and return its path."""
        with path.open("wb") as file:
            file.truncate(self.capacity)
            for piece in self.pieces:
                file.seek(piece.start)
                file.write(piece.data)
        return path


def _random(seed: int, start: int, length: int) -> Piece:
    return Piece(start=start, data=random.Random(seed).randbytes(length))


def _text(start: int, length: int) -> Piece:
    line = b"a line of a log that compresses as well as a guest's files do\n"
    return Piece(start=start, data=(line * (length // len(line) + 1))[:length])


def _full(seed: int, capacity: int) -> SampleDisk:
    return SampleDisk(capacity=capacity, pieces=(_random(seed, 0, capacity),))


SAMPLES: Final[dict[str, tuple[SampleDisk, ...]]] = {
    "odd-sizes": (
        _full(1, 64 * KIB + 512),
        _full(2, 256 * KIB - 512),
        SampleDisk(capacity=3 * MIB + 300 * KIB + 512, pieces=(_random(3, 1000 * KIB, MIB), _random(4, 3 * MIB, 512))),
    ),
    "one-sector": (_full(5, 512),),
    "holes-only": (SampleDisk(capacity=1 << 30),),
    "beyond-2-tb": (
        SampleDisk(
            capacity=2 * TIB + 512 * 1024 * MIB + 512,
            pieces=(
                _random(6, 0, 70 * KIB),
                _random(7, 2 * TIB - 128 * KIB, 256 * KIB),
                _random(8, 2 * TIB + 512 * 1024 * MIB, 512),
            ),
        ),
    ),
    "four-disks": (
        _full(9, 2 * MIB),
        SampleDisk(capacity=40 * MIB, pieces=(_text(20 * MIB, MIB),)),
        SampleDisk(capacity=5 * MIB),
        SampleDisk(capacity=7 * MIB, pieces=(_random(10, 6 * MIB + 512, 4096),)),
    ),
    "random": (_full(11, 8 * MIB),),
    "compressible": (SampleDisk(capacity=64 * MIB, pieces=(_text(0, 8 * MIB), _text(33 * MIB + 512, 3 * MIB))),),
    "checkered": (
        SampleDisk(
            capacity=16 * MIB,
            pieces=tuple(_random(20 + n, n * 192 * KIB + 512 * (n % 5), 32 * KIB) for n in range(80)),
        ),
    ),
}
"""The disks of each machine, by the machine's name. Each name says the difficulty."""
