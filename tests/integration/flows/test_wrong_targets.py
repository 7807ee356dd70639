"""A wrong target is refused before the first change, in words that name the thing, its place and a remedy.

Each case is one row: the state that makes the target wrong, the request, and the words of the refusal. The lab counts
the calls. Only calls that read may be among them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, hands, make_request, new_run, power
from vmkeep.errors import ConflictError, NotFoundError, PermissionDeniedError, UnsupportedError, VmKeepError
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.overwrite import Undo
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import claims, snapshots
from vmkeep.vsphere.rights import LOOKING
from vmkeep.vsphere.tasks import run_task
from vmlab.managed.storage.datastores import DEFAULT_CAPACITY
from vmlab.testing import Lab

VM = "web01"
READING = {*LOOKING.calls, "QueryCryptoKeyStatus", "folder.GET", "folder.HEAD", "host.GET"}
"""The calls that change nothing."""
OVER: dict[str, Any] = {"on_conflict": OnConflict.OVERWRITE}
NEW: dict[str, Any] = {"new_name": "restored"}
State = Callable[["Ground"], AbstractContextManager[Any]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A lab, a site, and points of some VMs by name."""

    lab: Lab
    site: Any
    points: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A wrong target."""

    error: type[VmKeepError]
    words: tuple[str, ...]
    options: dict[str, Any]
    of: str = VM
    state: State = field(default=lambda _ground: nullcontext())
    user: str = ""


def settings(**values: Any) -> State:
    @contextmanager
    def changed(ground: Ground) -> Iterator[None]:
        ground.lab.settings(**values)
        yield
        usual = {"capacities": DEFAULT_CAPACITY, "datastore_states": "normal", "hardware_versions": 21}
        for name, stores in values.items():
            ground.lab.settings(**{name: dict.fromkeys(stores, usual[name])})

    return changed


@contextmanager
def suspended(ground: Ground) -> Iterator[None]:
    with hands(ground.lab) as session:
        vm = session.vm(ground.lab.vm(VM)["moref"])
        run_task(session, vm.SuspendVM_Task, what="test", timeout=60, look=lambda: None)
    yield
    power(ground.lab, VM, on=True)


@contextmanager
def backed_up_now(ground: Ground) -> Iterator[None]:
    moref = ground.lab.vm(VM)["moref"]
    with hands(ground.lab) as session, open_repository(ground.site.repository) as repository:
        taken = snapshots.create(session, moref, run="now", repository=repository.id, quiesce=False)
        yield
        snapshots.remove(session, moref, taken.moref)


@contextmanager
def restored_now(ground: Ground) -> Iterator[None]:
    moref = ground.lab.vm(VM)["moref"]
    with hands(ground.lab) as session, open_repository(ground.site.repository) as repository:
        claims.hold(session, moref, claims.VmClaim(run="of-another", made=False), version=None)
        taken = snapshots.create(session, moref, run="of-another", repository=repository.id, quiesce=False)
        yield
        snapshots.remove(session, moref, taken.moref)
        claims.let_go(session, moref, "of-another")


@contextmanager
def host_away(ground: Ground) -> Iterator[None]:
    ground.lab.post("host/connection", {"host": "esx02.localhost", "state": "disconnected"})
    yield
    ground.lab.post("host/connection", {"host": "esx02.localhost", "state": "connected"})


CASES = {
    "it exists, and nothing was said about that": Case(
        error=ConflictError, words=(f"VM {VM} ", "exists", "--on-conflict overwrite", "--new-name"), options={}
    ),
    "no such VM": Case(
        error=NotFoundError, words=("'nobody'",), options={**OVER, "vm_selector": "nobody"}
    ),
    "a disk of another size": Case(
        error=ConflictError, options={**OVER, "vm_selector": "old01"},
        words=("Hard disk 1 (scsi0:0,", "the disk there has", "--disk-map", "vmkeep restore disk"),
    ),
    "fewer disks": Case(
        error=ConflictError, of="old01", options={**OVER, "vm_selector": VM}, words=("the VM has no disk at scsi0:1",)
    ),
    "a template": Case(
        error=UnsupportedError, options={**OVER, "vm_selector": "debian-template"},
        words=("VM debian-template", "is a template", "convert it to a VM", "--new-name"),
    ),
    "suspended": Case(
        error=ConflictError, options=OVER, state=suspended, words=(f"VM {VM}", "is suspended", "resume it")
    ),
    "backed up at the moment": Case(
        error=ConflictError, options=OVER, state=backed_up_now, words=(f"VM {VM} is being backed up by run", "wait for")
    ),
    "restored at the moment": Case(
        error=ConflictError, options=OVER, state=restored_now,
        words=(f"VM {VM}", "is being written over by the restore of run of-another", "wait for it, or stop it"),
    ),
    "a datastore in maintenance mode under a VM": Case(
        error=ConflictError, options=OVER, state=settings(datastore_states={"datastore1": "maintenance"}),
        words=(f"VM {VM}", "datastore1, with its own files, Hard disk 1, is in maintenance mode", "--datastore"),
    ),
    "a read-only datastore under a VM": Case(
        error=ConflictError, options=OVER, state=settings(datastore_states={"datastore1": "read-only"}),
        words=(f"VM {VM}", "datastore datastore1", "is mounted read-only", "--new-name"),
    ),
    "no room to undo": Case(
        error=ConflictError, options={**OVER, "undo": Undo.SNAPSHOT}, state=settings(capacities={"datastore1": 1}),
        words=("datastore datastore1 has 0 B free", "make room there"),
    ),
    "no rights on the VM": Case(
        error=PermissionDeniedError, options=OVER, user="readonly@vsphere.local",
        words=("VirtualMachine.Interact.PowerOff", "VirtualMachine.Config.AdvancedConfig", f"on {VM}"),
    ),
    "the name of a new VM": Case(
        error=ConflictError, options={"new_name": VM}, words=(f"a VM named {VM} exists in /Lab/vm/Production", "choose")
    ),
    "no such datastore": Case(
        error=NotFoundError, options={**NEW, "datastore": "datastroe1"},
        words=("'datastroe1'", "datastore1", "target datastores"),
    ),
    "no such datastore for a disk": Case(
        error=NotFoundError, options={**NEW, "disk_datastores": ("scsi0:0=fast",)},
        words=("'fast'", "target datastores"),
    ),
    "no such folder": Case(
        error=NotFoundError, options={**NEW, "folder": "Prodction"},
        words=("'Prodction'", "Production", "target folders"),
    ),
    "no such resource pool": Case(
        error=NotFoundError, options={**NEW, "resource_pool": "Gold"}, words=("'Gold'", "target pools")
    ),
    "no such host": Case(
        error=NotFoundError, options={**NEW, "host": "esx09"}, words=("'esx09'", "esx01.localhost", "target hosts")
    ),
    "no such network": Case(
        error=NotFoundError, options={**NEW, "networks": ("VM Network=VM Netwrk",)}, words=("'VM Netwrk'", "VM Network")
    ),
    "no such disk": Case(
        error=NotFoundError, options={**NEW, "disk_datastores": ("scsi3:0=datastore1",)}, words=("scsi3:0", "scsi0:0")
    ),
    "a host out of reach": Case(
        error=ConflictError, options={**NEW, "host": "esx02.localhost"}, state=host_away, words=("esx02.localhost",)
    ),
    "no room": Case(
        error=ConflictError, options=NEW, state=settings(capacities={"datastore1": 1}),
        words=("datastore datastore1 has 0 B free", "the new VM takes at least", "make room there, or choose another"),
    ),
    "a datastore in maintenance mode": Case(
        error=NotFoundError, options={**NEW, "datastore": "datastore2"},
        state=settings(datastore_states={"datastore2": "maintenance"}),
        words=("datastore 'datastore2' is in maintenance mode", "choose another one, or put that right"),
    ),
    "a read-only datastore": Case(
        error=NotFoundError, options=NEW, state=settings(datastore_states={"datastore1": "read-only"}),
        words=("datastore 'datastore1' is mounted read-only", "choose another"),
    ),
    "hardware that no host knows": Case(
        error=UnsupportedError, options=NEW,
        state=settings(hardware_versions={"esx01.localhost": 10, "esx02.localhost": 11}),
        words=("hardware version vmx-", "takes at most vmx-10", "update this one"),
    ),
    "no rights on the place of a new VM": Case(
        error=PermissionDeniedError, options=NEW, user="readonly@vsphere.local",
        words=("VirtualMachine.Inventory.Create", "Datastore.AllocateSpace", "Network.Assign", "AssignVMToPool"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(lab, tmp_path_factory):
    location = str(tmp_path_factory.mktemp("wrong") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    points = {name: back_up(site, name).point for name in (VM, "old01")}
    return Ground(lab=lab, site=site, points=points)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_refused_and_nothing_was_changed(ground, case):
    site = replace(ground.site, vcenter=replace(ground.site.vcenter, user=case.user or ground.lab.user))
    request = make_request(point=ground.points[case.of], run=new_run(), **case.options)
    with ExitStack() as state:
        state.enter_context(case.state(ground))
        vms, before = ground.lab.state()["vms"], Counter(ground.lab.state()["calls"])

        with pytest.raises(case.error) as refused:
            run_restore(site, request, bars=restoring.silent, announce=lambda _line: None)

        calls = Counter(ground.lab.state()["calls"]) - before
        assert ground.lab.state()["vms"] == vms
    assert not set(calls) - READING
    missing = [words for words in case.words if not re.search(re.escape(words), str(refused.value))]
    assert not missing, str(refused.value)


def test_a_running_vm_is_switched_off_only_by_a_plan_that_says_so(ground):
    plan = plan_restore(ground.site, make_request(point=ground.points[VM], run=new_run(), **OVER))

    assert f"VM {VM} is running, and is switched off before the first write, without asking its guest" in plan_lines(
        plan
    )


def test_a_datastore_that_was_filled_since_the_plan_is_refused_before_the_vm_is_made(ground):
    going = Restoring.new(ground.site, ground.points[VM], "too-late")
    with settings(capacities={"datastore1": 1})(ground), pytest.raises(ConflictError, match="datastore1 has 0 B free"):
        going.prepared()

    assert going.clean_up() == 0
    assert "too-late" not in restoring.names(ground.lab)
