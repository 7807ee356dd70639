"""Brings back content that is damaged or lost, from the damaged packs themselves or from a second repository.

Content that a restore point needs from a damaged pack is stored again in a new pack, after its digest was checked. A
damaged pack that nothing needs any more is condemned, so that a later prune deletes it. Nothing is deleted here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from vmkeep.errors import CorruptError, UnsupportedError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.donors import Donor, NoDonor, SameDonor, TwinDonor, read_frame
from vmkeep.maintenance.noting import require_points
from vmkeep.model.job import Progress
from vmkeep.model.point import RestorePoint
from vmkeep.repository import ZERO, BlockWriter, Kind, Location, Repository, find_twin, share_digests
from vmkeep.repository.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, Shape, entry, parse_root
from vmkeep.repository.notes import BadFrame, PackDamage, PackState

OnProgress = Callable[[Progress], None]
Named = tuple[int, bytes]
"""Number of a block or page within its level, and its digest."""
Give = Callable[[int, bytes], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealReport:
    """The content that was brought back, or that a dry run would bring back."""

    blocks: int = 0
    """Blocks stored again."""
    pages: int = 0
    """Map pages stored again."""
    bytes_healed: int = 0
    """Bytes of content in these blocks and pages."""
    lost: int = 0
    """Blocks and pages that no source could give. Content below a lost page is not counted."""
    packs_condemned: tuple[str, ...] = ()
    """Ids of damaged packs that nothing needs any more."""


def heal(
    repository: Repository,
    source: Repository | None = None,
    *,
    dry_run: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> HealReport:
    """Store again the content that points need from damaged and missing packs, as far as some source still has it.

    Damage is known from the notes of earlier checks; missing content is looked for. Reads the maps of all points. May
    be repeated, and a crash harms nothing.

    :param source: a second repository with the same content. If its keys are the same, any will do; otherwise it must
        hold copies of the damaged points. ``None``: only frames that the damaged packs still give come back.
    :raises UsageError: both are the same repository.
    :raises UnsupportedError: their blocks differ in size.
    :raises CorruptError: points are missing although nobody forgot them; they may need a pack that would be condemned.
    """
    if source is not None and source.id == repository.id:
        raise UsageError(f"{source.location} is the damaged repository itself, or a clone of it; name a second one")
    if source is not None and source.block_size != repository.block_size:
        raise UnsupportedError(f"{source.location} has blocks of another size: no block of it fits here")
    require_points(repository)
    repository.check(on_progress=on_progress)  # writes down which frames and packs are lost or broken
    if dry_run:
        healing = _Healing(repository, source, None)
        healing.run(on_progress)
        return healing.report()
    run = f"heal-{secrets.token_hex(8)}"
    with repository.at_work(run) as begun, repository.open_writer(run=run, begun=begun, alone=True) as writer:
        healing = _Healing(repository, source, writer)
        healing.run(on_progress)
        writer.flush()
    report = healing.report()
    if report.packs_condemned:
        repository.sweep_records.condemn(bytes.fromhex(pack) for pack in report.packs_condemned)
    return report


class _Healing:
    """One walk over all points."""

    def __init__(self, repository: Repository, source: Repository | None, writer: BlockWriter | None) -> None:
        """Prepare the walk.

        :param writer: stores the content that is found; ``None`` only counts it.
        """
        self._repository = repository
        self._source = source
        self._writer = writer
        self._same = SameDonor(source) if source is not None and share_digests(repository, source) else None
        self._known: dict[bytes, PackDamage] = repository.damage.load().packs
        self._bad = {(pack, frame.offset) for pack, damage in self._known.items() for frame in damage.frames}
        self._blocks = repository.open_blocks()
        self._index = repository.index
        self._needed: set[bytes] = set()
        self._unclear = False
        self._good: set[bytes] = set()
        self._healed: set[bytes] = set()
        self._counts = {Kind.BLOCK: 0, Kind.PAGE: 0}
        self._bytes = self._lost = 0

    def run(self, on_progress: OnProgress) -> None:
        """Heal every point."""
        self._avoid()
        names = list(self._repository.manifests.names())
        for number, read in enumerate(self._repository.manifests.read(names)):
            on_progress(Progress(phase="heal points", bytes_done=number, bytes_total=len(names)))
            if read.point is None:
                self._unclear = True  # we cannot know which packs it needs, and its manifest may come back
            else:
                self._heal_point(read.point)

    def report(self) -> HealReport:
        """Return the outcome."""
        return HealReport(
            blocks=self._counts[Kind.BLOCK],
            pages=self._counts[Kind.PAGE],
            bytes_healed=self._bytes,
            lost=self._lost,
            packs_condemned=tuple(sorted(pack.hex() for pack in self.done_with)),
        )

    @property
    def done_with(self) -> frozenset[bytes]:
        """The damaged packs that no point needs now and that are not condemned already."""
        if self._unclear:
            return frozenset()
        return frozenset(self._known) - self._needed - self._repository.sweep_records.avoided()

    def _avoid(self) -> None:
        """Make the writer store again even what a damaged pack still has, because its good frames have to move, too."""
        self._index.avoid(frozenset(self._known) | self._repository.sweep_records.avoided(), frozenset(self._bad))

    def _heal_point(self, point: RestorePoint) -> None:
        twin = self._twin(point)
        for image in point.images:
            roots = [theirs.root for theirs in twin.images if theirs.disk.key == image.disk.key] if twin else []
            self._heal_map(image.root, self._donor(roots[0] if roots else None))
        for name, root in point.attachments.items():
            self._heal_map(root, self._donor(twin.attachments.get(name) if twin else None))

    def _twin(self, point: RestorePoint) -> RestorePoint | None:
        """Return the same point in the second repository; ``None`` where digests are equal and nobody needs it."""
        if self._source is None or self._same is not None:
            return None
        with suppress(CorruptError):
            return find_twin(point, self._repository, self._source)
        return None

    def _donor(self, root: str | None) -> Donor:
        if self._same is not None:
            return self._same
        if self._source is not None and root is not None:
            with suppress(CorruptError):
                return TwinDonor(self._source, root, self._repository.framer.digester)
        return NoDonor()

    def _heal_map(self, root: str, donor: Donor) -> None:
        digest = bytes.fromhex(root)
        content = self._contents([(0, digest)], ROOT_SIZE, lambda _index, digest: donor.root(digest))[digest]
        try:
            shape, top = parse_root(content or b"")
        except CorruptError:
            self._unclear = True  # everything below this page is unknown as well
            return
        if top != ZERO and shape.levels:
            self._heal_pages([(0, top)], shape.levels, shape, donor)
        elif top != ZERO:
            self._heal_blocks([(0, top)], shape, donor)

    def _heal_pages(self, pages: Sequence[Named], level: int, shape: Shape, donor: Donor) -> None:
        """Heal the subtrees of some pages of one level."""
        new = [(index, digest) for index, digest in pages if digest not in self._good]
        contents = self._contents(new, PAGE_SIZE, lambda index, digest: donor.page(digest, level, index))
        for index, digest in new:
            lost = self._lost
            if (content := contents[digest]) is None:
                self._unclear = True
                continue
            rows = ((index * FAN_OUT + row, entry(content, row)) for row in range(FAN_OUT))
            children = [(number, child) for number, child in rows if child != ZERO]
            if level == 1:
                self._heal_blocks(children, shape, donor)
            else:
                self._heal_pages(children, level - 1, shape, donor)
            if self._lost == lost:
                self._good.add(digest)

    def _contents(self, pages: Sequence[Named], size: int, give: Give) -> dict[bytes, bytes | None]:
        """Return the content of pages, once each of them is in a good pack; ``None`` for a page that is lost."""
        places = {digest: index for index, digest in pages}
        locations = dict(zip(places, self._index.find_many(list(places)), strict=True))
        found = self._read_pages([digest for digest in places if self._is_good(locations[digest])], size)
        for digest, index in places.items():
            if found.get(digest) is None:
                self._distrust(locations[digest], digest)
                found[digest] = self._bring(Kind.PAGE, digest, size, locations[digest], partial(give, index, digest))
        return found

    def _read_pages(self, digests: Sequence[bytes], size: int) -> dict[bytes, bytes | None]:
        with suppress(CorruptError):
            return dict(self._blocks.get_pages(digests, size=size))
        return {digest: read_frame(self._blocks, Kind.PAGE, digest, size) for digest in digests}

    def _heal_blocks(self, blocks: Sequence[Named], shape: Shape, donor: Donor) -> None:
        locations = self._index.find_many([digest for _, digest in blocks])
        for (index, digest), location in zip(blocks, locations, strict=True):
            if not self._is_good(location) and digest not in self._healed:
                length = shape.block_length(index)
                self._bring(Kind.BLOCK, digest, length, location, partial(donor.block, digest, index, length))

    def _is_good(self, location: Location | None) -> bool:
        return location is not None and location.pack not in self._known

    def _distrust(self, location: Location | None, digest: bytes) -> None:
        """Write down the damage of a frame that no check has found yet."""
        if location is None or not self._is_good(location):
            return
        frame = BadFrame(offset=location.offset, digest=digest.hex())
        damage = PackDamage(
            pack=location.pack.hex(), state=PackState.FRAMES, reason="a page could not be read", frames=(frame,)
        )
        self._known[location.pack] = self._repository.damage.remember(damage, before=None)
        self._bad.add((location.pack, location.offset))
        self._avoid()

    def _bring(
        self, kind: Kind, digest: bytes, length: int, location: Location | None, give: Callable[[], bytes | None]
    ) -> bytes | None:
        """Store a frame in a new pack and return its content; ``None`` if no source has it."""
        content = self._still_readable(kind, digest, length, location)
        if content is None:
            content = give()
        if content is None:
            self._lost += 1
            if location is not None:
                self._needed.add(location.pack)
            return None
        if self._writer is not None:
            self._writer.add(kind, digest, content)
        if digest not in self._healed:
            self._healed.add(digest)
            self._counts[kind] += 1
            self._bytes += length
        return content

    def _still_readable(self, kind: Kind, digest: bytes, length: int, location: Location | None) -> bytes | None:
        """Read a frame from its damaged pack, if the frame itself is still good."""
        if location is None or (location.pack, location.offset) in self._bad:
            return None
        damage = self._known.get(location.pack)
        if damage is not None and damage.state is PackState.LOST:
            return None
        return read_frame(self._blocks, kind, digest, length)
