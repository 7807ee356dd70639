"""Finds out whether restore points are complete: every page, every block in the index, every frame in a good pack.

Reads the maps, but data only from packs that cannot be trusted as a whole. Damage is reported as byte ranges of a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vmkeep.blobs import BlobInfo, BlobStore, abreast
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent
from vmkeep.model.point import RestorePoint
from vmkeep.model.wording import agreeing, counted
from vmkeep.repository.blocks import BlockReader
from vmkeep.repository.checks.findings import Findings, Trouble
from vmkeep.repository.checks.places import Places
from vmkeep.repository.checks.seenpages import SeenPages
from vmkeep.repository.frames import ZERO, Kind
from vmkeep.repository.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, Shape, entry, parse_root
from vmkeep.repository.points import Manifests

_NAMED = 20
"""Damaged places of one disk that are reported one by one."""
_REMEMBERED = 1 << 21
"""While fewer good pages than this are remembered, those of the lowest level are remembered too. There are 64 of them
for each page of the level above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedPart:
    """The loss of a disk, or of a file kept with a restore point."""

    name: str
    """A disk's label, or the file's name."""
    extents: tuple[Extent, ...]
    """Lost byte ranges; none means that all of it is lost."""
    places: tuple[tuple[int, str], ...]
    """First byte and reason of the first few damaged places; byte -1 stands for the map's root."""
    count: int
    """Number of damaged places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDamage:
    """The loss of a restore point."""

    ref: str
    parts: tuple[DamagedPart, ...]


class PointCheck:
    """Checks points. Content that was found good once is not read again. Thread-safe."""

    def __init__(self, blocks: BlockReader, places: Places) -> None:
        self._blocks = blocks
        self._places = places
        self.seen: SeenPages | None = None
        """Pages that were read just now, and need not be read again."""
        self._good: set[bytes] = set()
        self._whole: set[str] = set()
        """The roots of maps that were found good. No page is among them, because a root may not name one instead."""

    def check(self, point: RestorePoint) -> PointDamage | None:
        """Check every disk and every attachment of a point; ``None`` if all of it can be restored."""
        maps = [(image.disk.label, image.root) for image in point.images] + list(point.attachments.items())
        unknown = [(name, root) for name, root in maps if root not in self._whole]
        roots = self._read_roots(dict.fromkeys(root for _, root in unknown))
        parts = (self._check_map(name, root, roots[root]) for name, root in unknown)
        damaged = tuple(part for part in parts if part is not None)
        return PointDamage(ref=point.ref, parts=damaged) if damaged else None

    def _read_roots(self, roots: Iterable[str]) -> dict[str, bytes | str]:
        """Return the content of each root, or why it cannot be read."""
        digests, found = {}, dict[str, bytes | str]()
        for root in roots:
            try:
                digests[root] = bytes.fromhex(root)
            except ValueError as error:
                found[root] = str(error)
        contents = self._read(set(digests.values()), size=ROOT_SIZE)
        return found | {root: contents[digest] for root, digest in digests.items()}

    def _check_map(self, name: str, root: str, content: bytes | str) -> DamagedPart | None:
        try:
            if isinstance(content, str):
                raise CorruptError(content)
            shape, top = parse_root(content)
        except (CorruptError, ValueError) as error:
            return DamagedPart(name=name, extents=(), places=((-1, f"map root: {error}"),), count=1)
        losses = _Losses(shape)
        if top != ZERO and shape.levels == 0:
            self._check_blocks([(0, top)], shape, losses)
        elif top != ZERO:
            self._check_pages([(0, top)], shape.levels, shape, losses)
        if not losses.count and len(self._whole) < _REMEMBERED:
            self._whole.add(root)
        return losses.part(name)

    def _check_pages(self, pages: Sequence[tuple[int, bytes]], level: int, shape: Shape, losses: _Losses) -> None:
        """Walk the subtrees of some pages of one level. Each page comes with the number of its first block."""
        new = [(first, digest) for first, digest in pages if digest not in self._good]
        contents = self._read({digest for _, digest in new}, size=PAGE_SIZE)
        span = FAN_OUT**level
        for first, digest in new:
            content, before = contents[digest], losses.count
            if isinstance(content, str):
                losses.add(first, first + span, content)
                continue
            step = span // FAN_OUT
            children = [(first + row * step, child) for row in range(FAN_OUT) if (child := entry(content, row)) != ZERO]
            if children and children[-1][0] >= shape.blocks:
                losses.add(first, first + span, "map page names blocks beyond the disk's end")
            elif level == 1:
                self._check_blocks(children, shape, losses)
            else:
                self._check_pages(children, level - 1, shape, losses)
            if losses.count == before and (level > 1 or len(self._good) < _REMEMBERED):
                self._good.add(digest)

    def _read(self, digests: set[bytes], *, size: int) -> dict[bytes, bytes | str]:
        """Return each page, or why it cannot be read. Pages are read together as long as all of them are good."""
        wanted = sorted(digests)
        found: dict[bytes, bytes | str] = {}
        for digest, location in zip(wanted, self._places.find(wanted), strict=True):
            if (why := self._places.why_not(location, digest, kind=Kind.PAGE, length=size)) is not None:
                found[digest] = why
        good = [digest for digest in wanted if digest not in found]
        try:
            return found | self._get_pages(good, size=size)
        except CorruptError:
            return found | {digest: self._read_one(digest, size=size) for digest in good}

    def _get_pages(self, digests: Sequence[bytes], *, size: int) -> dict[bytes, bytes]:
        """Return some pages. Read those that were not read just now.

        :raises CorruptError: one of them cannot be read.
        """
        found: dict[bytes, bytes] = {}
        if self.seen is not None:
            for digest, location in zip(digests, self._places.find(digests), strict=True):
                if (content := self.seen.find(location, digest, size=size)) is not None:
                    found[digest] = content
        wanted = [digest for digest in digests if digest not in found]
        return found | self._blocks.get_pages(wanted, size=size) if wanted else found

    def _read_one(self, digest: bytes, *, size: int) -> bytes | str:
        try:
            return self._blocks.get_pages([digest], size=size)[digest]
        except CorruptError as error:
            return f"map page: {error}"

    def _check_blocks(self, blocks: Sequence[tuple[int, bytes]], shape: Shape, losses: _Losses) -> None:
        locations = self._places.find([digest for _, digest in blocks])
        for (block, digest), location in zip(blocks, locations, strict=True):
            length = shape.block_length(block)
            if (why := self._places.why_not(location, digest, kind=Kind.BLOCK, length=length)) is not None:
                losses.add(block, block + 1, why)


class _Losses:
    """The loss of one map. Joins neighbouring ranges, and keeps the reasons of the first few."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._extents: list[Extent] = []
        self._places: list[tuple[int, str]] = []
        self.count = 0

    def add(self, first: int, stop: int, reason: str) -> None:
        """Add a range of lost blocks. Call it in ascending order."""
        extent = self._shape.extent(first, stop)
        if len(self._places) < _NAMED:
            self._places.append((extent.start, reason))
        self.count += 1
        if self._extents and self._extents[-1].stop == extent.start:
            extent = Extent(self._extents.pop().start, extent.stop)
        self._extents.append(extent)

    def part(self, name: str) -> DamagedPart | None:
        """Return the loss as a value."""
        if not self.count:
            return None
        return DamagedPart(name=name, extents=tuple(self._extents), places=tuple(self._places), count=self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPoint:
    """A restore point after its check."""

    ref: str
    damage: PointDamage | None


def check_points(
    store: BlobStore,
    manifests: Manifests,
    blobs: Iterable[BlobInfo],
    make: Callable[[], PointCheck],
    *,
    seen: SeenPages | None = None,
) -> Iterator[tuple[str, CheckedPoint | CorruptError]]:
    """Check many points, several at a time; yield each manifest's key with the result, or why it cannot be read.

    The first point of each VM is checked before its other points, because these share most of their maps with it. A
    point that is deleted meanwhile is left out. A point counts as damaged only after a second look from scratch,
    because maintenance may have moved its blocks in between. All points that seem damaged get that look together, at
    the end, because a new check lists all packs.

    :param make: makes a check that looks at the store anew.
    :param seen: pages that were read just now; the first look at a point does not read them again.
    """
    check = make()
    check.seen = seen
    listed = list(blobs)
    first: dict[str, BlobInfo] = {}
    for blob in listed:
        first.setdefault(blob.key.rpartition("/")[0], blob)
    others = [blob for blob in listed if first[blob.key.rpartition("/")[0]] is not blob]
    suspects = []
    for part in (first.values(), others):
        for blob, found in _look(store, manifests, part, check):
            if isinstance(found, CheckedPoint) and found.damage is not None:
                suspects.append(blob)
            elif found is not None:
                yield blob.key, found
    if suspects:
        for blob, found in _look(store, manifests, suspects, make()):
            if found is not None:
                yield blob.key, found


def _look(
    store: BlobStore, manifests: Manifests, blobs: Iterable[BlobInfo], check: PointCheck
) -> Iterator[tuple[BlobInfo, CheckedPoint | CorruptError | None]]:
    """Yield each manifest with its point after a check, or with the error; ``None``: the point was deleted."""

    def look(blob: BlobInfo) -> tuple[BlobInfo, CheckedPoint | CorruptError | None]:
        try:
            point = manifests.load(blob.key)
            damage = check.check(point)
            if damage is not None:
                store.size(blob.key)  # raises if the point was deleted: its blocks may have gone with it
        except BlobNotFoundError:
            return blob, None
        except CorruptError as error:
            return blob, error
        return blob, CheckedPoint(ref=point.ref, damage=damage)

    return abreast(store, look, blobs, computes=True)


def report(damage: PointDamage, findings: Findings) -> None:
    """Add the loss of a point to some findings."""
    for part in damage.parts:
        what = f"{damage.ref}, {part.name}"
        for byte, reason in part.places:
            findings.add(Trouble.POINT, what if byte < 0 else f"{what}, byte {byte}", reason)
        if part.count > len(part.places):
            more = part.count - len(part.places)
            findings.add(Trouble.POINT, what, f"{counted(more, 'more place')} {agreeing(more, 'is', 'are')} damaged")
