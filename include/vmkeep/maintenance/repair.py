"""Repairs without deleting: rebuilds an index from packs, and tells damaged restore points from good ones.

A check has to find the damage first. Lost blocks come back by :mod:`vmkeep.maintenance.healing`, or by the next backup
that reads the same content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

from vmkeep.blobs import BlobInfo, abreast, confirm_lists
from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.index_rewriting import IndexRewriting, rewriting_index
from vmkeep.model.job import Progress
from vmkeep.repository import Damage, Lost, Repository
from vmkeep.repository.checks import PointDamage, check_points, is_pack, pack_id_of, read_contents, salvage_pack
from vmkeep.repository.checks.indexcheck import IndexCheck, Sum, sum_of
from vmkeep.repository.folders import PACKS, POINTS
from vmkeep.repository.frames import PackContents

_ENTRIES = 1 << 20
"""Entries written as one segment: 46 MiB."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRepair:
    """The changes to an index, or those that a dry run would make."""

    segments_damaged: dict[str, str]
    """Segment → what is wrong with it. Readers skip these from now on; they stay where they are."""
    packs_listed: tuple[str, ...]
    """Ids of the packs whose entries are written again or for the first time."""
    entries: int
    """Number of entries written."""
    packs_unreadable: tuple[str, ...]
    """Packs that no segment names, and of which no frame can be read."""


def repair_index(
    repository: Repository, *, dry_run: bool = False, on_progress: OnProgress = lambda _progress: None
) -> IndexRepair:
    """List the packs that no good segment lists correctly. Every step may be repeated, and a crash harms nothing.

    Packs that maintenance is deleting are left out. Packs of running backups may be listed a little early.

    :raises StaleError: maintenance took this process for dead meanwhile.
    """
    confirm_lists(repository.blobs)
    with nullcontext() if dry_run else rewriting_index(repository) as rewriting:
        return _repair_index(repository, rewriting, on_progress)


def _repair_index(repository: Repository, rewriting: IndexRewriting | None, on_progress: OnProgress) -> IndexRepair:
    """Repair the index.

    :param rewriting: ``None``: a dry run.
    """
    work = _IndexWork(repository, on_progress)
    packs = {pack_id_of(blob.key): blob for blob in repository.blobs.list(PACKS) if is_pack(blob.key)}
    sums = work.sums(packs)
    verdict = IndexCheck(repository.blobs, repository.framer, read=lambda _size: None).run(sums)
    excused = repository.sweep_records.avoided()
    unlisted = [pack for pack in packs if pack not in excused and (pack not in verdict.listed or pack in verdict.wrong)]
    if rewriting:
        for key in verdict.damaged.keys() - repository.damage.load().segments.keys():
            repository.damage.remember_segment(key, verdict.damaged[key])
    listed, unreadable, entries = [], [], 0
    for group in _grouped(work.contents(packs[pack] for pack in unlisted)):
        good = [contents for contents in group if isinstance(contents, PackContents)]
        unreadable += [pack_id_of(blob.key).hex() for blob in group if isinstance(blob, BlobInfo)]
        listed += [contents.pack_id.hex() for contents in good]
        entries += sum(contents.count for contents in good)
        if good and rewriting:
            repository.index.store_segment(good)
            rewriting.require(contents.pack_id for contents in good)
    return IndexRepair(
        segments_damaged=verdict.damaged,
        packs_listed=tuple(listed),
        entries=entries,
        packs_unreadable=tuple(unreadable),
    )


class _IndexWork:
    """Reads the footers of packs, several at a time."""

    def __init__(self, repository: Repository, on_progress: OnProgress) -> None:
        self._store = repository.blobs
        self._framer = repository.framer
        self._on_progress = on_progress

    def sums(self, packs: dict[bytes, BlobInfo]) -> dict[bytes, Sum]:
        """Return the sum that the index entries of each pack should have, where its footer is good and not empty."""
        sums: dict[bytes, Sum] = {}
        for number, contents in enumerate(abreast(self._store, self._footer, packs.values())):
            if contents is not None:
                sums[contents.pack_id] = sum_of(contents)
            self._on_progress(Progress(phase="read footers", bytes_done=number + 1, bytes_total=len(packs)))
        return sums

    def contents(self, packs: Iterable[BlobInfo]) -> Iterator[PackContents | BlobInfo]:
        """Yield the contents of each pack, by its footer or else its frames; an unreadable pack is yielded itself."""
        for blob in packs:
            try:
                found = self._footer(blob) or salvage_pack(self._store, self._framer, blob.key)
            except BlobNotFoundError:
                continue
            yield found or blob

    def _footer(self, blob: BlobInfo) -> PackContents | None:
        try:
            return read_contents(self._store, self._framer, blob.key, blob.size)
        except (CorruptError, BlobNotFoundError):
            return None


def _grouped(packs: Iterable[PackContents | BlobInfo]) -> Iterator[Sequence[PackContents | BlobInfo]]:
    """Gather packs until their entries fill a segment."""
    group: list[PackContents | BlobInfo] = []
    entries = 0
    for pack in packs:
        group.append(pack)
        entries += pack.count if isinstance(pack, PackContents) else 0
        if entries >= _ENTRIES:
            yield group
            group, entries = [], 0
    if group:
        yield group


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsRepair:
    """The damaged points, and the changes to their marks."""

    damaged: tuple[PointDamage, ...]
    """All damaged points, with the parts that are lost."""
    marked: tuple[str, ...]
    """Refs of damaged points that had no damage mark before."""
    cleared: tuple[str, ...]
    """Refs of points that were marked damaged and are whole again."""
    unreadable: tuple[str, ...]
    """Manifests that are damaged themselves. Such points can be neither restored nor marked."""


def repair_points(
    repository: Repository, *, dry_run: bool = False, on_progress: OnProgress = lambda _progress: None
) -> PointsRepair:
    """Mark the points that have lost something, and clear the mark of points that are whole again.

    Looks only at which frames exist and which damage checks have found. Reads no data.
    """
    confirm_lists(repository.blobs)
    damaged, marked, cleared, unreadable = [], [], [], []
    manifests = list(repository.blobs.list(POINTS))
    looked_at = check_points(repository.blobs, repository.manifests, manifests, repository.point_check)
    for number, (key, found) in enumerate(looked_at):
        on_progress(Progress(phase="look at points", bytes_done=number, bytes_total=len(manifests)))
        if isinstance(found, CorruptError):
            unreadable.append(key)
            continue
        before = repository.marks.damage_of(found.ref)
        if found.damage is not None:
            damaged.append(found.damage)
            if _mark(repository, found.damage, before, dry_run=dry_run):
                marked.append(found.ref)
        elif before is not None:
            cleared.append(found.ref)
            if not dry_run:
                repository.marks.clear_damaged(found.ref)
    return PointsRepair(
        damaged=tuple(damaged), marked=tuple(marked), cleared=tuple(cleared), unreadable=tuple(unreadable)
    )


def _mark(repository: Repository, damage: PointDamage, before: Damage | None, *, dry_run: bool) -> bool:
    """Mark a point, unless its mark already says the same; return whether it had no mark."""
    lost = tuple(Lost(name=part.name, extents=part.extents) for part in damage.parts)
    if not dry_run and (before is None or before.lost != lost):
        try:
            repository.marks.mark_damaged(damage.ref, lost)
        except NotFoundError:
            return False
    return before is None
