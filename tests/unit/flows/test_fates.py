"""Nothing of ours outlives its run by more than a sweep's interval, and nothing that lives is touched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.flows.leftovers import Fate, fate_of
from vmkeep.repository import create_repository
from vmkeep.vsphere.snapshots import VmSnapshot

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIMIT = timedelta(hours=48)
AIRFLOW, COMMAND_LINE, LOST = "an Airflow", "", None


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    with create_repository(str(tmp_path_factory.mktemp("fates") / "repository")) as made:
        yield made


@pytest.fixture
def fate(repository, request):
    """Return the fate of a snapshot of a run with an owner, at an age, where the owner's state is known or not."""
    area = repository.run(request.node.name[-40:])

    def of(owner, age, *, ended=None, of_other=False, fenced=False):
        if owner is not None:
            area.store("owner", owner.encode())
        if fenced:
            area.fence()
        snapshot = VmSnapshot(
            moref="snapshot-1", name="", run=area.run, repository="other" if of_other else repository.id,
            created_at=NOW - age, quiesced=False,
        )  # fmt: skip
        return fate_of(repository, snapshot, now=NOW, has_ended=lambda _owner: ended, given_up=LIMIT)

    of.area = area
    return of


MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("owner", "ended", "age", "expected"),
    [
        (AIRFLOW, True, timedelta(), Fate.REMOVE),
        (AIRFLOW, True, 100 * HOUR, Fate.REMOVE),
        (AIRFLOW, False, 47 * HOUR, Fate.IN_USE),
        (AIRFLOW, False, 48 * HOUR, Fate.REMOVE),
        (AIRFLOW, None, 9 * MINUTE, Fate.IN_USE),
        (AIRFLOW, None, 47 * HOUR, Fate.UNKNOWN),
        (AIRFLOW, None, 48 * HOUR, Fate.REMOVE),
        (COMMAND_LINE, None, 9 * MINUTE, Fate.IN_USE),
        (COMMAND_LINE, None, 10 * MINUTE, Fate.REMOVE),
        (LOST, None, 9 * MINUTE, Fate.IN_USE),
        (LOST, None, 47 * HOUR, Fate.UNKNOWN),
        (LOST, None, 48 * HOUR, Fate.REMOVE),
    ],
)
def test_a_snapshot_goes_when_its_run_has_ended_or_is_silent_up_to_the_limit(fate, owner, ended, age, expected):
    assert fate(owner, age, ended=ended) is expected


def test_a_copy_that_reads_keeps_its_snapshot_however_old_it_is(fate):
    with fate.area.open_lease("copy"):
        assert fate(AIRFLOW, 500 * HOUR, ended=False) is Fate.IN_USE


def test_a_clean_up_that_began_and_died_leaves_nothing_to_wait_for(fate):
    assert fate(COMMAND_LINE, MINUTE, fenced=True) is Fate.REMOVE


@pytest.mark.parametrize(("age", "expected"), [(47 * HOUR, Fate.IN_USE), (48 * HOUR, Fate.UNKNOWN)])
def test_a_snapshot_of_another_repository_is_never_removed(fate, age, expected):
    assert fate(AIRFLOW, age, of_other=True, ended=True) is expected


@pytest.mark.parametrize("owner", [AIRFLOW, COMMAND_LINE, LOST])
def test_a_clock_that_was_put_back_keeps_no_snapshot_for_ever(fate, owner):
    assert fate(owner, -60 * HOUR, ended=None) is Fate.REMOVE
