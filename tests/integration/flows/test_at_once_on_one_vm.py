"""Backups and restores of one VM at once, into one repository and into two: none takes a living one for dead."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hold_still, new_run, site_of
from vmkeep.errors import ConflictError
from vmkeep.flows import backup, leftovers, liveness, other_snapshots, restore
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.leftovers import Fate, find_run_snapshots
from vmkeep.model.site import Site
from vmkeep.repository import create_repository

VM = "web01"


@pytest.fixture
def here(lab, tmp_path) -> Site:
    create_repository(str(tmp_path / "here"))
    return site_of(lab, tmp_path / "here")


@pytest.fixture
def elsewhere(here, tmp_path) -> Site:
    create_repository(str(tmp_path / "elsewhere"))
    return replace(here, repository=str(tmp_path / "elsewhere"))


@pytest.fixture
def theirs(elsewhere, monkeypatch):
    """A backup into the other repository, which waits for its first copy for long."""
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    pre, taken = hold_still(elsewhere, VM)
    yield pre, taken
    backup.remove_snapshot(elsewhere, taken.vm, pre.request.run)


def snapshots_of(site, taken):
    return [found.snapshot for found in find_run_snapshots(site, taken.vm)]


def test_a_backup_into_one_repository_removes_no_snapshot_of_a_backup_into_another(here, elsewhere, theirs):
    pre, taken = theirs

    with pytest.raises(ConflictError, match=rf"{pre.request.run}.* another repository"):
        hold_still(here, VM)

    assert snapshots_of(elsewhere, taken) == [taken.snapshot]


def test_a_snapshot_of_another_repository_that_is_old_stays_and_holds_up_no_backup(here, theirs, monkeypatch):
    _, taken = theirs
    monkeypatch.setattr(other_snapshots, "GIVEN_UP", timedelta())

    back_up(here, VM)

    assert snapshots_of(here, taken) == [taken.snapshot]


def test_the_sweep_of_one_repository_tells_the_snapshots_of_another(here, theirs, monkeypatch):
    (young,) = find_run_snapshots(here, theirs[1].vm)
    monkeypatch.setattr(leftovers, "GIVEN_UP", timedelta())
    (old,) = find_run_snapshots(here, theirs[1].vm)

    assert (young.of_other, young.fate, old.of_other, old.fate) == (True, Fate.IN_USE, True, Fate.UNKNOWN)


def test_runs_of_one_key_in_two_repositories_remove_their_own_snapshots_only(here, elsewhere, theirs):
    pre, taken = theirs

    assert backup.remove_snapshot(here, taken.vm, pre.request.run).snapshots_removed == 0
    assert snapshots_of(elsewhere, taken) == [taken.snapshot]


def test_a_vm_is_not_written_over_while_it_is_backed_up_into_another_repository(kept, elsewhere, monkeypatch):
    site, point = kept
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    pre, taken = hold_still(elsewhere, VM)

    with pytest.raises(ConflictError, match=pre.request.run):
        Restoring.over(site, point, vm_selector=VM)

    backup.remove_snapshot(elsewhere, taken.vm, pre.request.run)
    restore.plan_restore(site, replace(Restoring.over(site, point, vm_selector=VM).request, run=new_run()))


def test_a_vm_is_not_written_over_while_its_backup_waits_for_a_retry(kept, lab, monkeypatch):
    site, point = kept
    plan = Restoring.over(site, point, vm_selector=VM).plan
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), owner="its DAG run"))
    taken = backup.take_snapshot(site, pre)
    asked = []

    def runs_on(owner: str) -> bool:
        asked.append(owner)
        return False

    with pytest.raises(ConflictError, match=pre.request.run):
        restore.plan_restore(site, replace(plan.request, run=new_run()), has_ended=runs_on)
    with pytest.raises(ConflictError, match=pre.request.run):
        restore.prepare_target(site, plan, has_ended=runs_on)

    assert set(asked) == {"its DAG run"}
    assert lab.vm(VM)["power"] == "poweredOn"
    restore.clean_up(site, plan.request.run)
    backup.remove_snapshot(site, taken.vm, pre.request.run)


@pytest.mark.parametrize("goes_on", [False, None], ids=["by its Airflow's word", "as nobody here knows its Airflow"])
def test_a_backup_removes_no_snapshot_of_a_run_that_waits_for_its_copies_and_goes_on(here, monkeypatch, goes_on):
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    late = backup.preflight(here, BackupRequest(vm_selector=VM, run=new_run()))
    pre = backup.preflight(here, BackupRequest(vm_selector=VM, run=new_run(), owner="its DAG run"))
    taken = backup.take_snapshot(here, pre)

    with pytest.raises(ConflictError, match=pre.request.run):
        backup.take_snapshot(here, late, has_ended=lambda _owner: goes_on)

    assert snapshots_of(here, taken) == [taken.snapshot]
    backup.remove_snapshot(here, taken.vm, pre.request.run)
