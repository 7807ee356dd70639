"""Limits of hosts, datastores and repositories hold over all runs, and whoever waits touches nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.integration.flows.restoring import back_up, hands, new_run
from vmkeep.errors import LimitReachedError, LowSpaceError
from vmkeep.flows import backup, turns
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.limits import Holder, Limits
from vmkeep.model.point import BackupMode
from vmkeep.repository import open_repository
from vmkeep.vsphere import loads


def limited(site, **limits):
    return replace(site, limits=Limits(**limits))


def planned(site, vm, **options):
    return backup.preflight(site, BackupRequest(vm_selector=vm, run=new_run(), **options))


@contextmanager
def open_snapshot(site, pre):
    try:
        yield backup.take_snapshot(site, pre)
    finally:
        backup.remove_snapshot(site, pre.vm.moref, pre.request.run, vcenter=pre.vm.vcenter)


def list_usages(site):
    with open_repository(site.repository) as repository:
        return repository.usages()


def copy(site, job):
    with backup.copy_disk(site, job, cursor=None, on_progress=lambda _: None) as running:
        return running.wait()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(turns, "LONGEST_PAUSE", 0.2)


def test_the_disks_of_a_vm_are_copied_one_after_the_other_if_the_host_takes_one_nfc_session(bench, impatient):
    bench.lab.settings(nfc_session_limit=1)
    try:
        done = back_up(limited(bench.site, nfc=1), "app01")
    finally:
        bench.lab.settings(nfc_session_limit=50)

    assert done.disks_copied > 1
    assert [use.holders for use in list_usages(bench.site)] == [()] * 3


def test_no_more_snapshots_are_open_on_a_datastore_than_its_limit_and_a_removal_makes_room(bench):
    site = limited(bench.site, snapshots=1)
    first, second = planned(site, "web01"), planned(site, "app01")

    with (
        open_snapshot(site, first),
        pytest.raises(LimitReachedError, match=r"waits for snapshots on datastore \S+: .* \(backup of web01\)"),
    ):
        backup.take_snapshot(site, second)
    assert bench.snapshots("app01") == []

    with open_snapshot(site, second):
        assert [use.waiting for use in list_usages(site) if "datastore" in use.limit.key] == [()]
    assert {use.holders for use in list_usages(site)} == {()}


def test_no_more_snapshots_are_open_than_the_host_can_copy_at_a_time(bench):
    site = limited(bench.site, nfc=1)
    first, second = planned(site, "web01"), planned(site, "db01")

    with (
        open_snapshot(site, first),
        pytest.raises(LimitReachedError, match="snapshots to copy within the NFC sessions of host"),
    ):
        backup.take_snapshot(site, second)


def test_no_snapshot_is_taken_while_no_copy_of_it_could_begin(bench):
    site = limited(bench.site, nfc=1)
    pre = planned(site, "web01")
    with open_snapshot(site, pre), open_repository(site.repository) as repository:
        (limit,) = [use.limit for use in repository.usages() if use.limit.key.startswith("snapshots/nfc/")]
        copies = repository.permits(replace(limit, key=limit.key.removeprefix("snapshots/")))
    copies.take(Holder(owner="other", run="other", what="copy of another VM"))

    with pytest.raises(LimitReachedError, match="0 of 1 are in use, and the work that it is for could not begin now"):
        backup.take_snapshot(site, planned(site, "web01"))

    assert bench.snapshots("web01") == []


def test_a_copy_that_waits_says_for_what_and_holds_nothing_meanwhile(bench):
    site = limited(bench.site, transfers=1)
    pre = planned(site, "web01")

    with open_snapshot(site, pre) as taken, open_repository(site.repository) as repository:
        (job,) = backup.plan_disks(site, pre, taken)
        (limit,) = [use.limit for use in repository.usages() if use.limit.key == "snapshots/transfers"]
        other = repository.permits(replace(limit, key="transfers", name="transfers of the repository"))
        other.take(Holder(owner="other", run="other", what="copy of another VM"))
        with pytest.raises(LimitReachedError, match=r"transfers of the repository.*copy of another VM") as reached:
            copy(site, job)
        assert reached.value.again_after > 0
        assert {use.limit.name: use.holders for use in repository.usages()}[
            "NFC sessions of host esx02.localhost"
        ] == ()
        other.give_back("other")
        copy(site, job)


def test_a_snapshot_that_would_leave_too_little_space_is_refused_before_the_vm_is_touched(bench):
    site = limited(bench.site, free="900TiB")

    with pytest.raises(LowSpaceError, match=r"web01: no snapshot is taken, because datastore .* have to stay free"):
        backup.take_snapshot(site, planned(site, "web01"))

    assert bench.snapshots("web01") == []


@pytest.mark.parametrize("mode", [BackupMode.SNAPSHOT_INCL_MEM, BackupMode.SUSPEND])
def test_the_memory_that_a_snapshot_writes_counts_as_taken(bench, mode):
    with hands(bench.lab) as session:
        (store,) = loads.read_stores(session, bench.lab.vm("web01")["moref"])
    assert store.memory > 0
    site = limited(bench.site, free=f"{(store.free - store.memory // 2) >> 20}MiB")

    with pytest.raises(LowSpaceError, match="of which the VM's memory would take"):
        backup.take_snapshot(site, planned(site, "web01", mode=mode))

    with open_snapshot(site, planned(site, "web01")) as taken:
        assert taken.snapshot is not None


def test_a_powered_off_vm_that_is_read_without_a_snapshot_takes_no_permit_for_one(bench):
    site = limited(bench.site, free="900TiB", snapshots=1)

    with open_snapshot(site, planned(site, "old01", mode=BackupMode.ASIS)) as taken:
        assert taken.snapshot is None
        assert list_usages(site) == []
