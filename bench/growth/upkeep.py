"""Rows of the upkeep of a repository: its check, prune and merge, deletions and marks, and the notes of its size."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.growth.increments import leftovers
from bench.growth.stock import POINTS_OF_A_VM, Counts, calls, calls_of, catalog, filled, sealed
from vmkeep.catalog import open_catalog
from vmkeep.flows.capacity import RetentionTerms, note_capacity
from vmkeep.flows.merging import merge_index
from vmkeep.maintenance import Margins, delete_points, execute, plan_deletion, plan_prune
from vmkeep.repository import Kind, Repository, create_repository, open_repository
from vmkeep.retention import NO_POLICIES, RetentionRule


def check(folder: Path, points: int) -> Counts:
    """The structure of a repository is checked whose points have one disk in common, and of one with increments."""
    filled(folder, points // POINTS_OF_A_VM)
    other = folder / "other"
    other.mkdir()
    leftovers(other, points)
    return {
        "calls, one disk in common": calls_of(folder, _checked),
        "calls, increments": calls_of(other, _checked),
    }


def _checked(repository: Repository) -> None:
    assert not repository.check()


def prune(folder: Path, points: int) -> Counts:
    """A pack that nothing reaches is deleted: two looks at all points."""
    sealed(folder, points // POINTS_OF_A_VM)
    _leave_waste(folder)
    return {"calls": calls_of(folder, _pruned)}


def _leave_waste(folder: Path) -> None:
    with open_repository(str(folder / "repository")) as repository, repository.open_writer(run="waste") as out:
        content = os.urandom(4096)
        out.add(Kind.BLOCK, repository.framer.digester.of(Kind.BLOCK, content), content)
        out.flush()


def _pruned(repository: Repository, rule: RetentionRule | None = None) -> None:
    at_once = Margins(young_for=timedelta(), condemned_for=timedelta())
    plan = plan_prune(repository, rule, margins=at_once, now=datetime.now(UTC))
    report = execute(repository, plan)
    assert report.packs_deleted
    assert bool(report.points_forgotten) == bool(rule)


def prune_by_a_rule(folder: Path, points: int) -> Counts:
    """A rule deletes half of the points of each VM; see :func:`prune`."""
    sealed(folder, points // POINTS_OF_A_VM)
    _leave_waste(folder)
    rule = RetentionRule(keep_last=POINTS_OF_A_VM // 2)
    return {"calls for each point": calls_of(folder, lambda repository: _pruned(repository, rule)) / points}


def merge(folder: Path, segments: int) -> Counts:
    """Segments of which no run has merged any become one."""
    with create_repository(str(folder / "repository")) as repository:
        for number in range(segments):
            repository.store_attachments({"": os.urandom(4096)}, run=f"bench-{number}")
    return {
        "calls of a merge, for each segment": calls_of(folder, _merged) / segments,
        "calls of a merge of one": calls_of(folder, merge_index),
    }


def _merged(repository: Repository) -> None:
    assert sum(report.segments_removed for report in merge_index(repository)[1])


def capacity(folder: Path, points: int) -> Counts:
    """The size of the repository and the points that go next are noted in a catalog that knows all points."""
    filled(folder, points // POINTS_OF_A_VM)
    terms = RetentionTerms(rule=RetentionRule(keep_last=2), zone=UTC, policies=NO_POLICIES)

    def note(repository: Repository) -> None:
        with open_catalog(catalog(folder)) as cache:
            cache.refresh(repository)
            before = calls(repository)
            note_capacity(cache, repository, terms, at=datetime.now(UTC))
            spent.append(calls(repository) - before)

    spent: list[float] = []
    calls_of(folder, note)
    return {"calls of a note": spent[0]}


def deletion(folder: Path, points: int) -> Counts:
    """Points are deleted together: all but one of each VM."""
    refs = sealed(folder, points // POINTS_OF_A_VM)
    going = [ref for number, ref in enumerate(refs) if number % POINTS_OF_A_VM]
    return {"calls for a deleted point": _calls_of_a_deletion(folder, going) / len(going)}


def marks(folder: Path, pinned: int) -> Counts:
    """One point is deleted while points of other VMs are pinned; and all pins are listed."""
    refs = sealed(folder, pinned + 1)
    with open_repository(str(folder / "repository")) as repository:
        for ref in refs[POINTS_OF_A_VM::POINTS_OF_A_VM]:
            repository.marks.pin(ref, reason="bench", by="bench")
    with open_repository(str(folder / "repository")) as repository:
        before = calls(repository)
        assert len(repository.marks.all()) == pinned
        listed = calls(repository) - before
    return {
        "calls of a deletion": _calls_of_a_deletion(folder, refs[:1]),
        "calls of a list, for each mark": listed / pinned,
    }


def _calls_of_a_deletion(folder: Path, refs: list[str]) -> float:
    def delete(repository: Repository) -> None:
        assert len(delete_points(repository, plan_deletion(repository, refs)).points_deleted) == len(refs)

    return calls_of(folder, delete)
