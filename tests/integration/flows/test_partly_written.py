"""A VM that a restore left partly written says so until its disks are whole, and no point of it counts as good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.flows.restoring import (
    Restoring,
    back_up,
    hands,
    hold_still,
    new_run,
    power,
    restore_whole,
    silent,
    swept,
)
from vmkeep.errors import ConflictError, NotFoundError, VmKeepError
from vmkeep.flows import backup, restore
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.sweep import Kind
from vmkeep.flows.undo import accept_restore, undo_restore
from vmkeep.repository import Repository, open_repository
from vmkeep.vsphere import claims, relocation

OVER = {"on_conflict": "overwrite", "power_on": False, "all_blocks": True}


@pytest.fixture(scope="module")
def copy(lab, kept):
    """A VM that the tests write over: a copy of the point's."""
    site, point = kept
    return restore_whole(site, point, new_name="copy", power_on=False).vm.name


def broken_restore(lab, site, point, vm, **options) -> str:
    """Let a restore fail in the middle of its write. Return its run."""
    lab.fault(nfc={"on": "write", "code": 14011, "after_bytes": 1 << 20, "count": None})
    request = make_request(point=point, run=new_run(), vm=vm, **OVER, **options)
    try:
        with pytest.raises(VmKeepError):
            run_restore(site, request, bars=silent, announce=lambda _line: None)
    finally:
        lab.clear()
    return request.run


def incomplete(lab, vm) -> str:
    with hands(lab) as session:
        return claims.incomplete_on(session, lab.vm(vm)["moref"])


def suspicion(site, ref):
    with open_repository(site.repository) as repository:
        return repository.marks.suspicion_of(ref)


def test_a_point_of_a_partly_written_vm_is_suspect_until_a_restore_is_complete(lab, kept, copy):
    site, point = kept
    run = broken_restore(lab, site, point, copy)

    taken = back_up(site, copy)

    doubt = suspicion(site, taken.point)
    assert (doubt.disks, run in doubt.reason) == (("Hard disk 1",), True)
    restore_whole(site, point, vm=copy, **OVER)
    assert backup.preflight(site, BackupRequest(vm_selector=copy, run=new_run())).half_written == ""


def test_a_point_of_a_partly_written_vm_is_suspect_from_its_seal_on(lab, kept, copy, monkeypatch):
    site, point = kept
    broken_restore(lab, site, point, copy)
    seen = []
    seal = Repository.seal

    def sealed(self, point, **options):
        seen.append(self.marks.suspicion_of(point.ref))
        return seal(self, point, **options)

    monkeypatch.setattr(Repository, "seal", sealed)

    taken = back_up(site, copy)

    assert seen == [suspicion(site, taken.point)] != [None]
    restore_whole(site, point, vm=copy, **OVER)


def test_a_restore_that_writes_nothing_takes_no_warning_off(lab, kept, copy):
    site, point = kept
    run = broken_restore(lab, site, point, copy)
    pre, taken = hold_still(site, copy)

    with pytest.raises(ConflictError, match="being backed up"):
        restore_whole(site, point, vm=copy, **OVER)

    backup.remove_snapshot(site, taken.vm, pre.request.run)
    assert incomplete(lab, copy) == run
    second = broken_restore(lab, site, point, copy)
    assert incomplete(lab, copy) == f"{run} {second}"
    restore_whole(site, point, vm=copy, **OVER)
    assert incomplete(lab, copy) == ""


def test_the_way_back_of_a_partly_written_vm_is_kept_until_it_was_gone(lab, kept, copy):
    site, point = kept
    run = broken_restore(lab, site, point, copy, undo="snapshot")

    with pytest.raises(ConflictError, match="partly written"):
        accept_restore(site, copy)
    undo_restore(site, copy, run=new_run())

    assert (run in incomplete(lab, copy), lab.vm(copy)["snapshots"]) == (False, [])


def test_a_restore_that_got_a_vm_ready_and_wrote_nothing_leaves_no_doubt_and_no_way_back(lab, kept, copy, caplog):
    site, point = kept
    ready = Restoring.over(site, point, vm_selector=copy, undo="snapshot").prepared()

    ready.clean_up()

    assert (incomplete(lab, copy), lab.vm(copy)["snapshots"]) == ("", [])
    assert "has written to no disk of VM copy" in caplog.text


def test_a_vm_that_is_to_be_kept_stays_once_it_is_ready_though_nothing_was_written(lab, kept):
    site, point = kept
    ready = Restoring.new(site, point, "waiting", on_failure="keep").prepared()

    assert ready.clean_up() == 0

    assert ready.written().finish().vm.name == "waiting"


def test_a_half_made_vm_that_somebody_owns_is_whole_only_after_a_restore_of_all_disks(lab, kept):
    site, point = kept
    dead = Restoring.new(site, point, "half").prepared()
    power(lab, "half", on=True)
    dead.clean_up()
    power(lab, "half", on=False)
    assert incomplete(lab, "half") == dead.request.run

    restore_whole(site, point, vm="half", disks=("scsi0:0",), **OVER)

    assert incomplete(lab, "half") == dead.request.run, "nobody knows which of its disks were not written"
    restore_whole(site, point, vm="half", **OVER)
    assert incomplete(lab, "half") == ""


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ("untouched", "none of its disks was written"),
        ("begun", "partly written"),
        ("handed over", "all its disks were written"),
    ],
)
def test_the_sweep_tells_of_a_dead_restore_only_what_it_did(lab, kept, copy, noted, words):
    site, point = kept
    request = make_request(point=point, run=new_run(), vm=copy, **OVER)
    plan = restore.plan_restore(site, request)
    with open_repository(site.repository) as repository, hands(lab) as session:
        ledger = RunLedger(repository, request.run)
        ledger.begin("", plan)
        if noted != "untouched":
            ledger.note_begun()
        if noted == "handed over":
            ledger.record_outcome(Outcome.HANDED_OVER)
        claim = claims.VmClaim(run=request.run, made=False, began=session.server_time(), repository=repository.id)
        assert claims.hold(session, lab.vm(copy)["moref"], claim, version=None)

    (found,) = swept(site, Kind.RESTORE)

    assert words in found.detail
    assert (request.run in incomplete(lab, copy)) == (noted == "begun")


@pytest.mark.parametrize(
    ("ending", "undo"),
    [
        ("told to end", "none"),
        ("told to end", "snapshot"),
        ("no way to write", "snapshot"),
        ("died, then swept", "none"),
        ("died, then restored", "snapshot"),
    ],
)
def test_a_restore_that_wrote_nothing_gives_the_vm_back_running_as_it_was_found(
    lab, kept, copy, monkeypatch, caplog, undo, ending
):
    site, point = kept
    power(lab, copy, on=True)
    request = make_request(point=point, run=new_run(), vm=copy, **OVER, undo=undo)
    died = ending.startswith("died")

    def stop(*_args):
        assert lab.vm(copy)["power"] == "poweredOff"
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        if ending == "no way to write":
            lab.fault(nfc={"on": "open", "code": 14011, "count": None})
        else:
            cut.setattr(restore, "write_jobs", stop)
        if died:
            cut.setattr(restore, "clean_up", lambda *_args: 0)
        with pytest.raises((KeyboardInterrupt, VmKeepError)):
            run_restore(site, request, bars=silent, announce=lambda _line: None)
    lab.clear()
    if ending == "died, then swept":
        swept(site, Kind.RESTORE)
    if ending == "died, then restored":
        with monkeypatch.context() as cut:
            cut.setattr(restore, "write_jobs", stop)
            with pytest.raises(KeyboardInterrupt):
                restore_whole(site, point, vm=copy, **OVER)

    now = lab.vm(copy)
    with hands(lab) as session:
        assert claims.claim_on(session, now["moref"]) is None
    assert (now["power"], now["snapshots"], incomplete(lab, copy)) == ("poweredOn", [], "")
    assert "partly written" not in caplog.text
    power(lab, copy, on=False)


def test_the_undo_of_a_dead_restore_that_wrote_nothing_says_so_and_gives_the_vm_back(
    lab, kept, copy, vmkeep, monkeypatch
):
    site, point = kept
    power(lab, copy, on=True)
    begun = Restoring.over(site, point, vm=copy, undo="snapshot", power_on=False, all_blocks=True)
    begun.request = replace(begun.request, owner="")
    begun.planned().prepared()
    with hands(lab) as session:
        assert relocation.is_fixed(session, lab.vm(copy)["moref"])

    monkeypatch.setenv("VMKEEP_VDDK", str(lab.vddk))
    told = vmkeep("restore", "undo", copy, "-r", site.repository, "--yes", check=False)

    assert isinstance(told.exception, NotFoundError)
    assert "wrote nothing, so there is nothing to undo" in str(told.exception)
    now = lab.vm(copy)
    with hands(lab) as session:
        assert (claims.claim_on(session, now["moref"]), relocation.is_fixed(session, now["moref"])) == (None, False)
    assert (now["power"], now["snapshots"]) == ("poweredOn", [])
    power(lab, copy, on=False)
