"""In place: only blocks that changed are written, a plan alone changes nothing, and a restore can be undone.

The tests share one restore point and one VM. Most of them take only the steps that they are about, because a restore
as a whole starts three processes.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, hands, power, restore_whole, swept
from vmkeep.errors import (
    AmbiguousError,
    ConflictError,
    NotFoundError,
    StaleError,
    TransientError,
    UnsupportedError,
    UsageError,
)
from vmkeep.flows import restore
from vmkeep.flows.block_choice import require_still, still_chosen
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.flows.restore_values import Target
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.flows.sweep import Kind, State
from vmkeep.flows.undo import accept_restore, undo_restore
from vmkeep.flows.undo_snapshot import hold_still
from vmkeep.model.job import DiskWrite, WriteJob
from vmkeep.model.overwrite import Blocks, Undo, Verify
from vmkeep.model.vmref import VmRef
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import claims, inventory, machines, snapshots
from vmkeep.vsphere.api import vim
from vmlab.managed.storage.datastores import DEFAULT_CAPACITY

VM = "web01"
OVER = OnConflict.OVERWRITE


class PowerCut(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def held(lab, tmp_path_factory):
    """A site, a point of a tracked VM that is off and has written to one block since, and what the point holds."""
    location = str(tmp_path_factory.mktemp("in-place") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    point = back_up(site, VM).point
    content = lab.hash(VM, 2000)
    lab.write(VM, 2000, [{"offset": 3 << 20, "length": 4096, "seed": 7}])
    power(lab, VM, on=False)
    return site, point, content


@contextmanager
def looking(lab, site):
    with hands(lab) as session, open_repository(site.repository) as repository:
        yield session, repository


def still(lab, site, point, **options):
    """Hold the VM still for a restore, as it is done between its mark and the end of its tracking."""
    run = restoring.new_run()
    plan = Restoring.over(site, point, **options).plan
    with looking(lab, site) as (session, repository):
        return plan, run, hold_still(session, repository, plan, run, since=session.server_time())


def job_of(lab, run, point, choice):
    return WriteJob(
        run=run, point=point, device_key=2000, vm=VmRef(moref=lab.vm(VM)["moref"], name=VM), vcenter=None,
        target_key=2000, target_uuid=None, target_file="x", capacity=1, fresh=False, choice=choice,
    )  # fmt: skip


def mark(lab):
    with hands(lab) as session:
        return claims.claim_on(session, lab.vm(VM)["moref"])


def remove_all(lab):
    with hands(lab) as session:
        moref = lab.vm(VM)["moref"]
        for snapshot in snapshots.list_all(session, moref):
            snapshots.remove(session, moref, snapshot.moref)


def test_the_changes_are_asked_for_and_the_snapshot_for_that_is_gone(lab, held):
    site, point, _ = held

    plan, run, found = still(lab, site, point)

    (choice,) = found.choices
    assert (choice.blocks, choice.bytes_changed, found.undo) == (Blocks.CHANGED, 256 << 10, None)
    assert any("only blocks that changed are written, if" in line for line in plan_lines(plan))
    with open_repository(site.repository) as repository:
        assert [(extent.start, extent.stop) for extent in repository.run(run).load_extents(choice.extents)] == [
            (3 << 20, (3 << 20) + 65536)
        ]
    assert lab.vm(VM)["snapshots"] == []


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "QueryChangedDiskAreas", "fault": "FileFault"},
        {"method": "QueryChangedDiskAreas", "fault": "NoPermission"},
        {"method": "QueryChangedDiskAreas", "fault": "HostNotConnected"},
        {"method": "CreateSnapshot_Task", "fault": "TooManySnapshotLevels"},
    ],
    ids=lambda fault: "-".join(fault.values()),
)
def test_a_question_that_vsphere_does_not_answer_costs_time_and_nothing_else(lab, held, fault):
    site, point, _ = held
    lab.fault(**fault)

    *_, found = still(lab, site, point)

    assert (found.choices[0].blocks, lab.vm(VM)["snapshots"]) == (Blocks.ALL, [])


def test_all_blocks_are_written_if_asked_for_and_nobody_is_asked_for_changes(lab, held):
    site, point, _ = held

    plan, _, found = still(lab, site, point, all_blocks=True)

    assert found.choices == plan.choices
    assert (found.choices[0].blocks, found.choices[0].why) == (Blocks.ALL, "all blocks were asked for")


def test_a_snapshot_to_undo_a_restore_that_never_begins_to_write_is_not_kept(lab, held, monkeypatch):
    site, point, _ = held

    def die(*_args, **_kwargs):
        raise PowerCut

    monkeypatch.setattr("vmkeep.flows.undo_snapshot.ask_choices", die)
    with pytest.raises(PowerCut):
        still(lab, site, point, undo=Undo.SNAPSHOT)

    assert lab.vm(VM)["snapshots"] == []


def test_blocks_are_left_out_only_while_the_vm_stays_off(lab, held):
    site, point, _ = held
    plan, run, found = still(lab, site, point)
    target = Target(vm=lab.vm(VM)["moref"], run=run, created=False, choices=found.choices)
    job = job_of(lab, run, point, found.choices[0])
    partly = DiskWrite(
        run=run, device_key=2000, target_file="x", bytes_written=0, bytes_zeroed=0, bytes_compared=0, seconds=0,
        transport="nbdssl", blocks=Blocks.CHANGED,
    )  # fmt: skip
    with hands(lab) as session:
        assert still_chosen(session, job) is job
        require_still(session, plan, target, [partly])
        power(lab, VM, on=True)
        power(lab, VM, on=False)

        now = still_chosen(session, job)

        assert (now.choice.blocks, now.choice.extents) == (Blocks.ALL, None)
        assert "did not stay off" in now.choice.why
        with pytest.raises(StaleError, match="did not stay off"):
            require_still(session, plan, target, [partly])


def test_all_blocks_are_written_if_the_vm_was_started_as_soon_as_it_was_off(lab, held, monkeypatch):
    site, point, _ = held
    going, off, choices = Restoring.over(site, point), machines.power_off, []

    def off_and_on_and_off(session, moref):
        off(session, moref)
        power(lab, VM, on=True)
        return off(session, moref)

    def die_then(*args, **options):
        choices.extend(hold_still(*args, **options).choices)
        raise PowerCut

    monkeypatch.setattr(machines, "power_off", off_and_on_and_off)
    monkeypatch.setattr(restore, "hold_still", die_then)
    with pytest.raises(PowerCut):
        going.prepared()
    going.clean_up()

    with hands(lab) as session:
        now = still_chosen(session, job_of(lab, going.request.run, point, choices[0]))
    assert (choices[0].blocks, now.choice.blocks) == (Blocks.CHANGED, Blocks.ALL)


def test_all_blocks_are_written_if_the_vm_runs_when_its_changes_are_asked_for(lab, held):
    site, point, _ = held
    power(lab, VM, on=True)
    try:
        *_, found = still(lab, site, point)
    finally:
        power(lab, VM, on=False)

    assert (found.choices[0].blocks, lab.vm(VM)["snapshots"]) == (Blocks.ALL, [])
    assert "started the VM" in found.choices[0].why


def test_a_snapshot_that_a_dead_restore_took_to_ask_for_changes_goes_with_it(lab, held, monkeypatch):
    site, point, _ = held
    going = Restoring.over(site, point)

    def die(*_args, **_kwargs):
        raise PowerCut

    with monkeypatch.context() as cut:
        cut.setattr("vmkeep.flows.undo_snapshot.snapshots.remove", die)
        with pytest.raises(PowerCut):
            going.prepared()
    assert len(lab.vm(VM)["snapshots"]) == 1

    going.clean_up()

    assert (lab.vm(VM)["snapshots"], mark(lab)) == ([], None)


def test_what_no_snapshot_holds_cannot_be_undone_and_a_new_vm_need_not_be(lab, held):
    site, point, _ = held
    for options in ({"undo": Undo.SNAPSHOT}, {"all_blocks": True}):
        with pytest.raises(UsageError, match="leave it out"):
            Restoring.new(site, point, "web01-new", **options)
    disk = next(device for device in restoring.devices(lab, VM) if device.key == 2000)
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    disk.backing.diskMode = "independent_persistent"
    restoring.reconfigure(lab, VM, vim.vm.ConfigSpec(deviceChange=[change]))
    try:
        with pytest.raises(UnsupportedError, match="Hard disk 1 is independent, and in no snapshot"):
            Restoring.over(site, point, undo=Undo.SNAPSHOT)
        assert "no snapshot holds it" in Restoring.over(site, point).plan.choices[0].why
    finally:
        disk.backing.diskMode = "persistent"
        restoring.reconfigure(lab, VM, vim.vm.ConfigSpec(deviceChange=[change]))


def test_no_snapshot_is_kept_for_an_undo_that_could_fill_its_datastore(lab, held):
    site, point, _ = held
    disk = next(device for device in restoring.devices(lab, VM) if device.key == 2000)
    store = disk.backing.fileName.partition("]")[0].strip("[")
    lab.settings(capacities={store: 1 << 20})
    try:
        with pytest.raises(ConflictError, match=f"datastore {store} has .* free, and the snapshot to undo the restore"):
            Restoring.over(site, point, undo=Undo.SNAPSHOT)
        assert Restoring.over(site, point).plan.choices
    finally:
        lab.settings(capacities={store: DEFAULT_CAPACITY})


def test_a_plan_alone_changes_nothing_and_cannot_be_carried_out(lab, held, vmkeep):
    site, point, _ = held
    before, state = lab.hash(VM, 2000), lab.state()
    where = ("-r", site.repository, "--vddk", site.vddk)

    shown = vmkeep("restore", "run", point, "--on-conflict", "overwrite", "--dry-run", "--json", *where)

    told = json.loads(shown.output)
    assert told["dry_run"] is True
    assert any("is written over Hard disk 1" in line for line in told["lines"])
    assert told["plan"]["choices"][0]["blocks"] == "changed"
    assert (lab.state()["vms"], lab.hash(VM, 2000)) == (state["vms"], before)
    request = make_request(point=point, run=restoring.new_run(), on_conflict=OVER, dry_run=True)
    with pytest.raises(StaleError, match="not known to this repository"):
        restore.prepare_target(site, restore.plan_restore(site, request))
    refused = vmkeep("restore", "run", point, "--dry-run", *where, check=False)
    assert isinstance(refused.exception, ConflictError)


def test_nothing_is_undone_without_a_choice_beside_a_backup_or_under_later_snapshots(lab, held):
    site, point, _ = held
    with pytest.raises(NotFoundError, match=r"only a restore with --undo snapshot .*keeps one"):
        accept_restore(site, VM)
    _, first, _ = still(lab, site, point, undo=Undo.SNAPSHOT)
    _, second, _ = still(lab, site, point, undo=Undo.SNAPSHOT)
    try:
        with pytest.raises(AmbiguousError, match=second):
            undo_restore(site, VM, run=restoring.new_run())
        with pytest.raises(NotFoundError, match=second):
            accept_restore(site, VM, restore="another")
        with pytest.raises(ConflictError, match="taken after the restore"):
            undo_restore(site, VM, run=restoring.new_run(), restore=first)
        accept_restore(site, VM, restore=second)
        with looking(lab, site) as (session, repository):
            snapshots.create(session, lab.vm(VM)["moref"], run="b", repository=repository.id, quiesce=False)
        with pytest.raises(ConflictError, match="is being backed up by run b"):
            accept_restore(site, VM)
    finally:
        remove_all(lab)


def test_a_restore_writes_what_changed_and_is_undone(lab, held, monkeypatch):
    site, point, content = held
    before = lab.hash(VM, 2000)

    done = restore_whole(site, point, on_conflict=OVER, undo=Undo.SNAPSHOT, verify=Verify.ALL)

    (disk,) = done.disks
    assert disk.blocks is Blocks.CHANGED
    assert 0 < disk.bytes_written + disk.bytes_zeroed <= 256 << 10
    assert disk.why_blocks.startswith(f"vSphere tells the changes since {point}")
    assert disk.bytes_compared > 256 << 10
    assert (lab.hash(VM, 2000), len(lab.vm(VM)["snapshots"]), mark(lab)) == (content, 1, None)
    (found,) = swept(site, Kind.UNDO, foreign_age=timedelta())
    assert (found.state, found.run, found.vm.name) == (State.LEFT, done.run, VM)
    assert swept(site, Kind.FOREIGN, foreign_age=timedelta()) == []

    undo, marks, remove = restoring.new_run(), [], snapshots.remove

    def looked_at(session, moref, snapshot):
        marks.append(claims.claim_on(session, moref).run)
        remove(session, moref, snapshot)

    monkeypatch.setattr(snapshots, "remove", looked_at)
    undone = undo_restore(site, VM, run=undo)

    assert marks == [undo], "and not that of the restore, which came back with the snapshot and keeps nobody away"
    assert (undone.restore, undone.snapshot, undone.powered_on) == (done.run, done.undo, False)
    assert (lab.hash(VM, 2000), lab.vm(VM)["snapshots"], mark(lab)) == (before, [], None)
    with hands(lab) as session:
        assert not inventory.describe_vm(session, lab.vm(VM)["moref"]).tracked, "so the next backup is a full one"
    assert "change tracking of the VM is off" in Restoring.over(site, point).plan.choices[0].why


def test_an_undo_leaves_the_vm_to_a_restore_that_has_marked_it_meanwhile(lab, held, monkeypatch):
    site, point, _ = held
    _, first, _ = still(lab, site, point, undo=Undo.SNAPSHOT)
    revert = snapshots.revert

    def overtaken(session, moref, snapshot):
        revert(session, moref, snapshot)
        assert claims.hold(session, moref, claims.VmClaim(run="second", made=False), version=None)

    monkeypatch.setattr(snapshots, "revert", overtaken)
    try:
        with pytest.raises(StaleError, match="restored by run second by now"):
            undo_restore(site, VM, run=restoring.new_run(), restore=first, power_on=True)
        assert (mark(lab).run, lab.vm(VM)["power"]) == ("second", "poweredOff")
    finally:
        with hands(lab) as session:
            claims.let_go(session, lab.vm(VM)["moref"], "second")
        remove_all(lab)


@pytest.mark.parametrize("verb", ["undo", "accept"])
def test_who_cannot_be_asked_has_to_say_yes_and_nothing_is_touched_before(lab, held, vmkeep, verb):
    site, point, _ = held
    where = ("-r", site.repository)
    _, run, found = still(lab, site, point, undo=Undo.SNAPSHOT)
    power(lab, VM, on=True)
    try:
        for more in ((), ("--json",)):
            refused = vmkeep("restore", verb, VM, *where, *more, check=False)
            assert isinstance(refused.exception, UsageError)
        shown = vmkeep("restore", verb, VM, *where, "--dry-run").output
        assert all(told in shown for told in (lab.vm(VM)["moref"], "which is running", run, found.undo, "UTC"))
        plain = json.loads(vmkeep("restore", verb, VM, *where, "--dry-run", "--json").output)
        assert (plain["dry_run"], plain["restore"]["restore"]) == (True, run)
        assert (len(lab.vm(VM)["snapshots"]), lab.vm(VM)["power"]) == (1, "poweredOn")

        done = json.loads(vmkeep("restore", verb, VM, *where, "--yes", "--json").output)

        assert (done["restore"], done["undone"], lab.vm(VM)["snapshots"]) == (run, verb == "undo", [])
    finally:
        remove_all(lab)
        if lab.vm(VM)["power"] == "poweredOn":
            power(lab, VM, on=False)


@pytest.mark.parametrize("clears", ["the next try", "its end", "nobody"])
def test_a_try_that_never_began_to_write_leaves_no_snapshot_to_undo_it(lab, held, monkeypatch, clears):
    site, point, _ = held
    going = Restoring.over(site, point, undo=Undo.SNAPSHOT)

    def fail(*_args, **_kwargs):
        raise TransientError("not now")

    with monkeypatch.context() as cut:
        cut.setattr(machines, "renew_generation", fail)
        with pytest.raises(TransientError):
            going.prepared()
    if clears == "its end":
        going.clean_up()
        assert (lab.vm(VM)["snapshots"], mark(lab)) == ([], None)
        return

    run = restoring.new_run() if clears == "the next try" else going.request.run
    dead = () if run == going.request.run else (going.request.run,)
    target = restore.prepare_target(site, going.plan, run=run, earlier=dead)

    assert [target.undo] == [snapshot["moref"] for snapshot in lab.vm(VM)["snapshots"]]
    with restore.open_site_repository(site) as repository:
        RunLedger(repository, run).note_begun()
    restore.clean_up(site, run)
    assert (len(lab.vm(VM)["snapshots"]), mark(lab)) == (1, None), "its disks may be written by now"
    remove_all(lab)
