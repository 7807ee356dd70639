"""Change tracking against disks that are really written to."""

from __future__ import annotations

import pytest

from tests.patience import HANG
from vmkeep.errors import ChangesUnknownError, PermissionDeniedError, StaleError, UnsupportedError
from vmkeep.model.extents import Extent, intersect, total
from vmkeep.vsphere import changes, inventory, snapshots
from vmkeep.vsphere.session import open_session
from vmlab.control import guest
from vmlab.managed.site import Injection

KEY = 2000
BLOCK = 65536


@pytest.fixture
def vm(session, lab):
    """A running VM whose tracking is on and whose first disk has a change id of a snapshot that is gone."""
    settings = lab.site.extents_per_query, lab.site.bytes_per_query
    moref = inventory.find_vm(session, "app01").moref
    changes.enable_tracking(session, moref)
    yield moref
    lab.site.extents_per_query, lab.site.bytes_per_query = settings
    for snapshot in reversed(snapshots.list_all(session, moref)):
        snapshots.remove(session, moref, snapshot.moref)


def write(lab, *writes):
    items = [{"offset": offset, "length": length, "seed": 7} for offset, length in writes]
    guest.write(lab.site, {"vm": "app01", "disk": KEY, "writes": items})


def take(session, vm, run):
    made = snapshots.create(session, vm, run=run, quiesce=False)
    (disk,) = (held for held in inventory.held_disks(session, vm, made.moref) if held.key == KEY)
    return made.moref, disk


def ask(session, vm, snapshot, disk, change_id):
    return changes.changed_extents(session, vm, snapshot, KEY, disk.disk.capacity, change_id)


def covers(found, offset, length):
    return total(intersect(found, (Extent(offset, offset + length),))) == length


def test_what_the_guest_wrote_between_two_snapshots_is_found_and_nothing_else(session, vm, lab):
    first, disk = take(session, vm, "one")
    snapshots.remove(session, vm, first)
    write(lab, (0, 512), (10 * BLOCK + 100 * 512, 4096), (30 << 20, 1 << 20))
    second, held = take(session, vm, "two")

    found = ask(session, vm, second, held, disk.change_id)

    assert covers(found, 0, 512)
    assert covers(found, 10 * BLOCK + 100 * 512, 4096)
    assert covers(found, 30 << 20, 1 << 20)
    assert total(found) <= (1 << 20) + 3 * BLOCK


def test_the_whole_disk_is_covered_when_every_answer_is_short(session, vm, lab):
    first, disk = take(session, vm, "one")
    snapshots.remove(session, vm, first)
    writes = [(at << 20, 512) for at in range(0, 64, 3)]
    write(lab, *writes)
    second, held = take(session, vm, "two")
    whole = ask(session, vm, second, held, disk.change_id)
    lab.site.extents_per_query, lab.site.bytes_per_query = 2, 5 << 20
    lab.site.faults.calls.clear()

    assert ask(session, vm, second, held, disk.change_id) == whole
    assert lab.site.faults.calls["QueryChangedDiskAreas"] >= 11
    assert all(covers(whole, *written) for written in writes)


def test_nothing_written_is_nothing_changed(session, vm):
    first, disk = take(session, vm, "one")
    snapshots.remove(session, vm, first)
    second, held = take(session, vm, "two")

    assert ask(session, vm, second, held, disk.change_id) == ()


def test_tracking_that_was_switched_off_and_on_means_a_full_read(session, vm):
    first, disk = take(session, vm, "one")
    snapshots.remove(session, vm, first)
    assert changes.disable_tracking(session, vm)
    assert not changes.disable_tracking(session, vm)
    stunned, _ = take(session, vm, "takes effect")
    snapshots.remove(session, vm, stunned)
    assert changes.enable_tracking(session, vm)
    assert not changes.enable_tracking(session, vm)
    second, held = take(session, vm, "two")

    with pytest.raises(ChangesUnknownError, match="was reset"):
        ask(session, vm, second, held, disk.change_id)


def test_tracking_does_not_begin_under_a_snapshot(session, vm):
    changes.disable_tracking(session, vm)
    snapshots.create(session, vm, run="in the way", quiesce=False)

    with pytest.raises(UnsupportedError, match="begins under a snapshot misses changes"):
        changes.enable_tracking(session, vm)


def test_a_disk_without_tracking_means_a_full_read(session, vm):
    first, disk = take(session, vm, "one")
    snapshots.remove(session, vm, first)
    changes.disable_tracking(session, vm)
    second, held = take(session, vm, "two")

    assert held.change_id is None
    with pytest.raises(ChangesUnknownError, match="not tracked"):
        ask(session, vm, second, held, disk.change_id)


def test_a_change_id_from_the_future_means_a_full_read(session, vm):
    made, disk = take(session, vm, "one")
    uuid, _, number = disk.change_id.rpartition("/")

    with pytest.raises(ChangesUnknownError, match="went back"):
        ask(session, vm, made, disk, f"{uuid}/{int(number) + 5}")


def test_another_capacity_means_a_full_read(session, vm):
    made, disk = take(session, vm, "one")

    with pytest.raises(ChangesUnknownError, match="resized"):
        changes.changed_extents(session, vm, made, KEY, disk.disk.capacity * 2, disk.change_id)


@pytest.mark.parametrize(
    "fault",
    ["FileFault", "InvalidArgument", "SystemError", "NotSupported", "NotFound", "HostCommunication", "TaskInProgress"],
)
def test_a_fault_of_the_query_means_a_full_read_with_its_reason(session, vm, lab, fault):
    made, disk = take(session, vm, "one")
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", fault=fault, message="no such epoch"))

    with pytest.raises(ChangesUnknownError, match=f"{fault}: no such epoch"):
        ask(session, vm, made, disk, disk.change_id)


@pytest.mark.parametrize("plan", [{"drop": True}, {"status": 503}], ids=["cut", "503"])
def test_a_query_whose_connection_stays_lost_means_a_full_read(session, vm, lab, monkeypatch, plan):
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(changes, "LOST_SECONDS", 0.2)
    made, disk = take(session, vm, "one")
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", count=1000, **plan))

    with pytest.raises(ChangesUnknownError, match=r"does not tell the changes since .*the connection failed"):
        ask(session, vm, made, disk, disk.change_id)


def test_a_query_whose_connection_comes_back_is_answered(session, vm, lab, monkeypatch):
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.01)
    made, disk = take(session, vm, "one")
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", drop=True, count=5))

    assert ask(session, vm, made, disk, disk.change_id) == ()


def test_a_query_that_takes_longer_than_other_calls_is_waited_for(lab, vcenter, vm):
    with open_session(vcenter) as hasty:
        made, disk = take(hasty, vm, "one")
        hasty._stub.schemeArgs["call_timeout"] = 0.1  # from now on, because a slow machine needs longer to log in
        lab.site.faults.add(Injection(method="QueryChangedDiskAreas", delay=0.3))

        assert ask(hasty, vm, made, disk, disk.change_id) == ()
        hasty._stub.schemeArgs["call_timeout"] = HANG


def test_a_query_that_hangs_means_a_full_read_and_is_asked_once(session, vm, lab, monkeypatch):
    monkeypatch.setattr(changes, "ANSWER_SECONDS", 0.3)
    made, disk = take(session, vm, "one")
    lab.site.faults.calls.clear()
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", delay=HANG))

    with pytest.raises(ChangesUnknownError, match="no answer in time"):
        ask(session, vm, made, disk, disk.change_id)

    assert lab.site.faults.calls["QueryChangedDiskAreas"] == 1


def test_many_slow_answers_end_at_the_time_for_all_of_them(session, vm, lab):
    made, disk = take(session, vm, "one")
    lab.site.bytes_per_query = 65536
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", delay=0.1, count=1000))

    with pytest.raises(ChangesUnknownError, match="takes too long to tell the changes"):
        changes.changed_extents(session, vm, made, KEY, disk.disk.capacity, disk.change_id, timeout=0.5)


def test_a_vcenter_restarted_during_a_query_is_asked_again(session, vm, lab):
    made, disk = take(session, vm, "one")
    lab.site.faults.add(Injection(method="QueryChangedDiskAreas", restart=True, fault="NotAuthenticated"))

    assert ask(session, vm, made, disk, disk.change_id) == ()


def test_a_snapshot_that_is_gone_is_no_reason_for_a_full_read_but_for_a_new_run(session, vm):
    made, disk = take(session, vm, "one")
    snapshots.remove(session, vm, made)

    with pytest.raises(StaleError, match="is gone; start a new run") as caught:
        ask(session, vm, made, disk, disk.change_id)

    assert not isinstance(caught.value, ChangesUnknownError)


def test_a_user_who_may_not_switch_tracking_is_told_so(session, vm, lab, reach):
    changes.disable_tracking(session, vm)
    with open_session(reach(lab, lab.port, user="readonly@vsphere.local")) as limited:
        assert not inventory.describe_vm(limited, vm).tracked
        with pytest.raises(PermissionDeniedError, match="ChangeTracking"):
            changes.enable_tracking(limited, vm)
