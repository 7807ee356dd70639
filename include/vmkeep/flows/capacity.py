"""Notes the size, the checks and the next losses of a repository in the catalog, and reads them for a page.

The points that retention lets go next are found by the rules that a prune uses, from the catalog's facts, so that no
manifest has to be read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from vmkeep.blobs import locks_of, space_of
from vmkeep.catalog import (
    Catalog,
    CataloguedPoint,
    NotedCheck,
    NotedDay,
    NotedLeaving,
    RepositoryNotes,
    open_catalog,
)
from vmkeep.clock import now
from vmkeep.errors import CatalogError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.repository import Marks, Repository
from vmkeep.repository.checks import Slice
from vmkeep.repository.folders import INDEX, PACKS, POINTS
from vmkeep.repository.points import blob_of_ref
from vmkeep.retention import PointFacts, PolicyRules, RetentionRule, decide_by_policy, expected_points

__all__ = [
    "NotedCheck", "NotedDay", "NotedLeaving", "RepositoryNotes", "RetentionTerms", "load_capacity", "next_leaving",
    "note_capacity", "note_check",
]  # fmt: skip

log = logging.getLogger(__name__)

AHEAD: Final = 14
"""Days for which the next losses are found."""
_SHOWN: Final = timedelta(days=366)
"""Age of the oldest day that a page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionTerms:
    """Everything that decides which points of a repository go."""

    rule: RetentionRule | None
    """The repository's own rule; ``None``: it has none."""
    zone: tzinfo
    """The time zone of that rule."""
    policies: PolicyRules


def note_capacity(cache: Catalog, repository: Repository, terms: RetentionTerms | None, *, at: datetime) -> None:
    """Note the sizes of a repository as those of the day, and the points that go next.

    :param terms: ``None``: nobody knows the retention, so that earlier notes of it stay.
    """
    notes = cache.capacity()
    totals = notes.totals(repository.id)
    space = space_of(repository.blobs)
    rule = repository.descriptor.lock
    ends = _lock_ends(repository, rule.period) if rule is not None else None
    held = None if ends is None else [end for end in ends if end > at]
    notes.note_day(
        repository.id,
        NotedDay(
            at=at,
            points=totals.points,
            protected=totals.protected,
            bytes_read=totals.bytes_read,
            bytes_added=totals.bytes_added,
            bytes_stored=sum(blob.size for folder in (PACKS, INDEX) for blob in repository.blobs.list(folder)),
            free=None if space is None else space.free,
            locked_for=rule.period if rule else None,
            locked=None if held is None else len(held),
            locked_until=max(held) if held else None,
        ),
    )
    if terms is not None:
        known = list(notes.points(repository.id))
        marks = repository.marks.all()
        facts = [*_facts(known, marks), *_unread(repository, {point.ref for point in known})]
        added = {point.ref: point.bytes_added for point in known}
        notes.note_leaving(repository.id, next_leaving(facts, marks, added, terms, at=at))


def next_leaving(
    points: Sequence[PointFacts],
    marks: Mapping[str, Marks],
    added: Mapping[str, int],
    terms: RetentionTerms,
    *,
    at: datetime,
    days: int = AHEAD,
) -> list[NotedLeaving]:
    """Return for today and each of the next days which points go, if every VM keeps its rhythm of backups.

    A point goes once. Points that are yet to be taken count as newer ones of their VM, and not as losses.

    :param marks: for pins, which may end meanwhile.
    :param added: bytes that the backup of each point added, by its ref.
    """
    coming = expected_points(points, now=at, until=at + timedelta(days=days))
    expected = {point.ref for point in coming}
    present = list(points)
    found = []
    for ahead in range(days + 1):
        end = at + timedelta(days=ahead)
        taken = [point for point in coming if point.taken_at <= end]
        known = [_pinned(point, marks, end) for point in (*present, *taken)]
        decided = decide_by_policy(known, terms.rule, terms.policies, now=end, zone=terms.zone)
        gone = {decision.point.ref: decision.point for decision in decided if not decision.keep}
        present = [point for point in present if point.ref not in gone]
        coming = [point for point in coming if point.ref not in gone]
        lost = [point for ref, point in gone.items() if ref not in expected]
        found.append(
            NotedLeaving(
                day=end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0),
                points=len(lost),
                vms=len({point.vm_key for point in lost}),
                bytes_added=sum(added.get(point.ref, 0) for point in lost),
            )
        )
    return found


def note_check(
    catalog: str | None, repository: Repository, part: Slice | None, *, all_data: bool, findings: int
) -> None:
    """Note a check that has ended. A failure is only logged, because the check counts without a note.

    :param catalog: its SQLAlchemy URL; ``None``: there is none.
    :param part: the slice whose data was read; ``None``: all data, or none.
    """
    if catalog is None:
        return
    check = NotedCheck(
        at=now(),
        part=1 if all_data else part.number if part else 0,
        parts=1 if all_data else part.of if part else 0,
        findings=findings,
    )
    try:
        with open_catalog(catalog) as cache:
            cache.capacity().note_check(repository.id, check)
    except VmKeepError as error:
        log.warning("the page of the repositories will not show this check: %s", error)


def load_capacity(catalogs: Iterable[str], at: datetime) -> tuple[tuple[RepositoryNotes, ...], tuple[str, ...]]:
    """Return the notes of each repository, and a sentence for each catalog that cannot be read.

    :param catalogs: their SQLAlchemy URLs.
    """
    found: list[RepositoryNotes] = []
    problems: list[str] = []
    for url in dict.fromkeys(catalogs):
        try:
            with open_catalog(url) as cache:
                found += cache.capacity().all(since=at - _SHOWN)
        except CatalogError as error:
            problems.append(str(error))
    return tuple(found), tuple(problems)


def _lock_ends(repository: Repository, period: timedelta) -> list[datetime] | None:
    """Return when the lock of each point's manifest ends at the earliest; ``None``: the store keeps no locks."""
    if (kept := locks_of(repository.blobs)) is None:
        return None
    blobs = {blob_of_ref(ref) for ref in repository.point_refs()}
    return [
        found.original.modified + period
        for found in kept.versions(POINTS)
        if found.key in blobs and found.original is not None
    ]


def _facts(points: Iterable[CataloguedPoint], marks: Mapping[str, Marks]) -> Iterator[PointFacts]:
    for point in points:
        yield PointFacts(
            ref=point.ref,
            vm_key=point.vm_key,
            vm_name=point.vm_name,
            vcenter=point.vcenter,
            moref=point.moref,
            taken_at=point.taken_at,
            good=marks.get(point.ref, Marks()).good,
            policy=point.policy or None,
        )


def _unread(repository: Repository, known: set[str]) -> Iterator[PointFacts]:
    """Yield the points that the catalog lacks, because their manifests are damaged: rules are careful about them."""
    for name in repository.manifests.names():
        if name.ref not in known and name.taken_at is not None:
            yield PointFacts(ref=name.ref, vm_key=name.vm_key, taken_at=name.taken_at, good=False, readable=False)


def _pinned(point: PointFacts, marks: Mapping[str, Marks], at: datetime) -> PointFacts:
    pin = marks[point.ref].pin if point.ref in marks else None
    return point if pin is None else replace(point, pinned=pin.holds(at))
