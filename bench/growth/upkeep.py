"""Rows of the upkeep of a repository: its check, its prune, deletions and marks."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.growth.increments import leftovers
from bench.growth.stock import POINTS_OF_A_VM, Counts, calls, calls_of, filled, sealed
from vmkeep.maintenance import Margins, delete_points, execute, plan_deletion, plan_prune
from vmkeep.repository import Kind, Repository, open_repository


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


def _pruned(repository: Repository) -> None:
    at_once = Margins(young_for=timedelta(), condemned_for=timedelta())
    plan = plan_prune(repository, None, margins=at_once, now=datetime.now(UTC))
    assert execute(repository, plan).packs_deleted


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
