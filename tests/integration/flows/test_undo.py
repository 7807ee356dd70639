"""Undoing a restore: a VM that cannot be put back is given back, and nothing that somebody may need falls off it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, hands, power
from vmkeep.errors import ConflictError, UsageError, VSphereError
from vmkeep.flows import liveness
from vmkeep.flows.dead_restores import refuse_beside_a_restore
from vmkeep.flows.overwritten import overwritten_lines
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_values import Restored
from vmkeep.flows.undo import accept_restore, find_undoable, undo_restore
from vmkeep.flows.undo_snapshot import hold_still
from vmkeep.flows.undo_wording import lines_of_added
from vmkeep.model.overwrite import Undo
from vmkeep.model.vmref import VmRef
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import claims, snapshots
from vmkeep.vsphere.api import vim

VM = "web01"


class PowerCut(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def held(lab, tmp_path_factory):
    """A site, and a point of a VM."""
    location = str(tmp_path_factory.mktemp("undo") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    return site, back_up(site, VM).point


@contextmanager
def looking(lab, site):
    with hands(lab) as session, open_repository(site.repository) as repository:
        yield session, repository


def moref(lab):
    return lab.vm(VM)["moref"]


def claim(lab):
    with hands(lab) as session:
        return claims.claim_on(session, moref(lab))


@pytest.fixture
def undoable(lab, held):
    """The key of a restore of the running VM, which keeps a snapshot from before its first write."""
    site, point = held
    if lab.vm(VM)["power"] == "poweredOn":
        power(lab, VM, on=False)
    run = restoring.new_run()
    plan = Restoring.over(site, point, undo=Undo.SNAPSHOT).plan
    with looking(lab, site) as (session, repository):
        hold_still(session, repository, plan, run, since=session.server_time())
    power(lab, VM, on=True)
    yield run
    with hands(lab) as session:
        if (left := claims.claim_on(session, moref(lab))) is not None:
            claims.let_go(session, moref(lab), left.run)
        for snapshot in snapshots.list_all(session, moref(lab)):
            snapshots.remove(session, moref(lab), snapshot.moref)


@pytest.mark.parametrize("fault", ["RevertToSnapshot_Task", "beside a backup"])
def test_a_vm_that_cannot_be_put_back_is_given_back_running_and_without_a_mark(lab, held, undoable, fault):
    site, _ = held
    if fault == "beside a backup":
        with looking(lab, site) as (session, repository):
            snapshots.create(session, moref(lab), run="b", repository=repository.id, quiesce=False)
        expected = pytest.raises(ConflictError, match="is being backed up by run b")
    else:
        lab.fault(method=fault, fault="InvalidState", count=1)
        expected = pytest.raises(VSphereError)

    with expected:
        undo_restore(site, VM, run=restoring.new_run())

    assert (claim(lab), lab.vm(VM)["power"]) == (None, "poweredOn")


def test_an_undo_whose_mark_stays_is_done_all_the_same_and_says_so(lab, held, undoable, monkeypatch):
    site, _ = held

    def refused(*_args, **_kwargs):
        raise VSphereError("the VM's host does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(claims, "let_go", refused)
        done = undo_restore(site, VM, run=restoring.new_run(), power_on=True)

    assert (done.undone, done.powered_on, lab.vm(VM)["snapshots"]) == (True, False, [])
    assert "'vmkeep vm sweep' ends" in done.warnings[-1]


@pytest.mark.parametrize(("verb", "then"), [("undo", "all that it has written"), ("accept", "restored state stays")])
def test_who_cannot_be_asked_sees_what_would_be_done_and_then_how_to_say_yes(lab, held, undoable, vmkeep, verb, then):
    site, _ = held
    before = lab.vm(VM)

    told = vmkeep("restore", verb, VM, "-r", site.repository, check=False)

    assert isinstance(told.exception, UsageError)
    assert f'asked here "{verb.capitalize()} restore {undoable} of VM {VM}' in str(told.exception)
    assert "add --yes" in str(told.exception)
    assert f"restore {undoable} keeps snapshot" in told.stdout
    assert then in told.stdout
    assert (lab.vm(VM)["power"], lab.vm(VM)["snapshots"]) == (before["power"], before["snapshots"])


def test_the_mark_that_comes_back_with_the_snapshot_keeps_nobody_away(lab, held, undoable):
    """An undo died after it had put the VM back: the VM carries the mark of the restore, which has ended well."""
    site, point = held
    with looking(lab, site) as (session, repository):
        ledger = RunLedger(repository, undoable)
        ledger.begin("the Airflow of somebody else")
        ledger.record_outcome(Outcome.HANDED_OVER)
        ledger.finish(Restored(
            run=undoable, vm=VmRef(moref=moref(lab), name=VM), point=point, created=False, powered_on=False,
            disks_written=1, bytes_written=1, bytes_zeroed=0,
        ))  # fmt: skip
        mark = claims.VmClaim(run=undoable, made=False, began=session.server_time(), repository=repository.id)
        claims.hold(session, moref(lab), mark, version=None)
        now = session.server_time()
        assert not liveness.restore_is_alive(repository, mark, now=now, has_ended=lambda _: None)
        identity = Restoring.over(site, point).plan.target
        assert refuse_beside_a_restore(session, repository, identity, mark) == (), "because nothing is half written"

    done = accept_restore(site, VM)

    assert (done.restore, claim(lab), lab.vm(VM)["snapshots"]) == (undoable, None, [])


def test_a_dead_restore_is_ended_whole_before_an_undo_and_its_snapshot_is_not_in_the_way(lab, held, undoable):
    site, point = held
    power(lab, VM, on=False)
    dead = Restoring.over(site, point)
    with looking(lab, site) as (session, repository):
        RunLedger(repository, dead.request.run).begin("")
        mark = claims.VmClaim(run=dead.request.run, made=False, began=session.server_time(), repository=repository.id)
        claims.hold(session, moref(lab), mark, version=None)
        snapshots.create(session, moref(lab), run=dead.request.run, repository=repository.id, quiesce=False)

    done = undo_restore(site, VM, run=restoring.new_run())

    assert (done.restore, claim(lab), lab.vm(VM)["snapshots"]) == (undoable, None, [])


def test_a_vm_that_a_dead_restore_left_partly_written_stays_off_and_marked(lab, held, undoable):
    site, _ = held
    power(lab, VM, on=False)
    with looking(lab, site) as (session, repository):
        RunLedger(repository, "dead").begin("")
        mark = claims.VmClaim(run="dead", made=False, began=session.server_time(), repository=repository.id)
        claims.hold(session, moref(lab), mark, version=None)
    lab.fault(method="RevertToSnapshot_Task", fault="InvalidState", count=1)
    own = restoring.new_run()

    with pytest.raises(VSphereError):
        undo_restore(site, VM, run=own)

    assert (claim(lab).run, lab.vm(VM)["power"]) == (own, "poweredOff")


def test_no_disk_that_was_added_after_the_restore_falls_off_the_vm(lab, held, undoable):
    site, _ = held
    first = next(device for device in restoring.devices(lab, VM) if device.key == 2000)
    spec = vim.vm.device.VirtualDeviceSpec
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    disk = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=first.controllerKey, unitNumber=5, capacityInKB=1024, capacityInBytes=1 << 20,
        backing=backing,
    )  # fmt: skip
    restoring.reconfigure(
        lab, VM, vim.vm.ConfigSpec(deviceChange=[spec(operation="add", fileOperation="create", device=disk)])
    )
    added = next(one for one in restoring.devices(lab, VM) if getattr(one, "unitNumber", None) == 5)
    network = next(one for one in restoring.devices(lab, VM) if isinstance(one, vim.vm.device.VirtualEthernetCard))
    network.key, network.macAddress, network.unitNumber = -2, None, None
    restoring.reconfigure(lab, VM, vim.vm.ConfigSpec(deviceChange=[spec(operation="add", device=network)]))

    found = find_undoable(site, VM)

    assert added.backing.fileName in found.disks_added[0]
    assert len(found.devices_added) == 1
    assert len(list(lines_of_added(found))) == 2
    with pytest.raises(ConflictError, match="got disks after the restore"):
        undo_restore(site, VM, run=restoring.new_run())
    assert (claim(lab), lab.vm(VM)["power"]) == (None, "poweredOn")
    restoring.reconfigure(lab, VM, vim.vm.ConfigSpec(deviceChange=[spec(operation="remove", device=added)]))
    (warning,) = undo_restore(site, VM, run=restoring.new_run()).warnings
    assert found.devices_added[0] in warning


def test_who_is_asked_is_told_what_is_at_stake_and_what_cannot_be_read(lab, held):
    site, point = held
    if lab.vm(VM)["power"] == "poweredOff":
        power(lab, VM, on=True)
    plan = Restoring.over(site, point).plan

    running, changed, backup = overwritten_lines(site, plan)
    strange = replace(plan, target=replace(plan.target, key="unknown", moref="vm-0"))
    unread, unknown = overwritten_lines(site, strange)

    assert running.startswith("it is running, last started on 20")
    assert changed.startswith("its configuration was last changed on 20")
    assert point in backup
    assert "cannot be read" in unread
    assert "NO backup of it" in unknown


def test_an_undo_that_dies_is_found_dead_by_the_next(lab, held, undoable, monkeypatch):
    site, _ = held

    def die(*_args, **_kwargs):
        raise PowerCut

    with monkeypatch.context() as cut:
        cut.setattr(snapshots, "revert", die)
        with pytest.raises(PowerCut):
            undo_restore(site, VM, run=restoring.new_run())
    assert claim(lab) is not None

    assert undo_restore(site, VM, run=restoring.new_run()).undone
