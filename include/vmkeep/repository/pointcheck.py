"""Whether restore points are complete: every page of every map, every block in the index, every pack in place."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import CorruptError
from vmkeep.model.point import RestorePoint
from vmkeep.repository.digests import DIGEST_SIZE, ZERO, Kind
from vmkeep.repository.findings import Findings, Trouble
from vmkeep.repository.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, Shape, parse_root
from vmkeep.repository.reader import BlockReader

_NAMED = 20
"""Damaged places of one disk that are named one by one."""


class PointCheck:
    """Checks points one after another; what was found good once is not read again."""

    def __init__(
        self,
        blocks: BlockReader,
        findings: Findings,
        bad: dict[bytes, str],
        why_bad: Callable[[bytes], str | None],
    ) -> None:
        """Prepare.

        :param bad: digest → place, of blocks that are known to be damaged.
        :param why_bad: tells what is wrong with a pack as a whole, if anything.
        """
        self._blocks = blocks
        self._findings = findings
        self._bad = bad
        self._why_bad = why_bad
        self._good: set[bytes] = set()

    def check(self, point: RestorePoint) -> None:
        """Check every disk and every attachment of a point."""
        for image in point.images:
            self._check_map(f"{point.ref}, {image.disk.label}", image.root)
        for name, root in point.attachments.items():
            self._check_map(f"{point.ref}, {name}", root)

    def _check_map(self, what: str, root: str) -> None:
        try:
            digest = bytes.fromhex(root)
            shape, top = parse_root(self._blocks.get_pages([digest], size=ROOT_SIZE)[digest])
        except (CorruptError, ValueError) as error:
            self._findings.add(Trouble.POINT, what, f"map root: {error}")
            return
        damage: list[tuple[int, str]] = []
        self._walk(top, shape.levels, 0, shape, damage)
        for block, reason in damage[:_NAMED]:
            self._findings.add(Trouble.POINT, f"{what}, byte {block * shape.block_size}", reason)
        if len(damage) > _NAMED:
            self._findings.add(Trouble.POINT, what, f"{len(damage) - _NAMED} more places are damaged")

    def _walk(self, digest: bytes, level: int, first: int, shape: Shape, damage: list[tuple[int, str]]) -> None:
        """Walk a subtree; remember it as good if nothing in it was damaged."""
        if digest == ZERO or digest in self._good:
            return
        before = len(damage)
        if level == 0:
            self._check_block(digest, first, damage)
        else:
            self._check_page(digest, level, first, shape, damage)
            if len(damage) == before:
                self._good.add(digest)

    def _check_page(self, digest: bytes, level: int, first: int, shape: Shape, damage: list[tuple[int, str]]) -> None:
        try:
            page = self._blocks.get_pages([digest], size=PAGE_SIZE)[digest]
        except CorruptError as error:
            damage.append((first, f"map page: {error}"))
            return
        step = FAN_OUT ** (level - 1)
        for row in range(FAN_OUT):
            child = page[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE]
            if child != ZERO and first + row * step >= shape.blocks:
                damage.append((first, "map page names blocks beyond the disk's end"))
                return
            self._walk(child, level - 1, first + row * step, shape, damage)

    def _check_block(self, digest: bytes, block: int, damage: list[tuple[int, str]]) -> None:
        if digest in self._bad:
            damage.append((block, f"block is damaged in {self._bad[digest]}"))
            return
        try:
            location = self._blocks.locate(Kind.BLOCK, digest)
        except CorruptError as error:
            damage.append((block, str(error)))
            return
        if (why := self._why_bad(location.pack)) is not None:
            damage.append((block, f"block is {why} ({location.pack.hex()})"))
