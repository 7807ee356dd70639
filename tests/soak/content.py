"""Content of every disk of a soak, told by the name of its file, so that each restore point can be compared.

Disks of one VM share most blocks, and all blocks come from a small pool: what one prune deletes, the next backup
brings again, and nearly everything that a backup finds stored was stored by another one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vmkeep.model.extents import Extent, coalesce

BLOCK = 65536
BLOCKS = 24
_POOL = 90
"""Different blocks; number 0 is zeros."""
_CHANGED = 0.3


@dataclass(frozen=True, slots=True)
class Image:
    """One state of one disk."""

    vm: str
    disk: int
    state: int

    @property
    def file_name(self) -> str:
        return f"{self.vm}-{self.disk}-{self.state}.raw"

    @staticmethod
    def named(file_name: str) -> Image:
        vm, disk, state = file_name.removesuffix(".raw").split("-")
        return Image(vm, int(disk), int(state))

    def numbers(self) -> list[int]:
        base = random.Random(f"{self.vm}-{self.disk}").choices(range(_POOL), k=BLOCKS)
        chance = random.Random(self.file_name)
        return [chance.randrange(_POOL) if chance.random() < _CHANGED else number for number in base]

    def content(self) -> bytes:
        return b"".join(_block(number) for number in self.numbers())

    def store(self, folder: Path) -> Path:
        path = folder / self.file_name
        path.write_bytes(self.content())
        return path


def changes(old: Image, new: Image) -> Sequence[Extent]:
    """Return what a hypervisor would say has changed."""
    pairs = enumerate(zip(old.numbers(), new.numbers(), strict=True))
    return coalesce(Extent(at * BLOCK, (at + 1) * BLOCK) for at, (before, after) in pairs if before != after)


@cache
def _block(number: int) -> bytes:
    return random.Random(number).randbytes(BLOCK) if number else bytes(BLOCK)
