"""A plan restores a site to another vCenter, whose ids collide with those of the old one, and tells what it reached."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.integration.flows import restoring
from tests.labs import start_lab
from tests.patience import HANG, eventually
from vmkeep.cli.main import cli
from vmkeep.errors import (
    CancelledError,
    ConflictError,
    GuestCommandError,
    NotFoundError,
    PlanError,
    SomeFailedError,
    UsageError,
)
from vmkeep.flows.recovery import RecoveryTalk, RecoveryWishes, run_recovery
from vmkeep.flows.recovery_journal import Journal
from vmkeep.flows.recovery_probes import probe_vm
from vmkeep.flows.stopping import Stop
from vmkeep.flows.sweep import Kind, State
from vmkeep.model.guest import GuestLogin
from vmkeep.recovery import GuestProbe, Probes, VmState, parse_plan
from vmkeep.repository import Kind as FrameKind
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.frames.packs import pack_key
from vmkeep.vsphere import inventory, machines
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task
from vmlab.managed.storage.datastores import DEFAULT_CAPACITY
from vmlab.testing import Lab

ODD = "dätä web/01 ☃"
PLAN = """
name: site-a
target:
  folder: Test
  datastores: ["datastore1=datastore2"]
  networks: ["VM Network=Backup Network"]
drill:
  network: Backup Network
  proved_within: 1d
groups:
  - name: databases
    selection: name:dä*
    rename: "{name}-dr"
    on_failure: stop
  - name: web
    selection: name:web*
    rename: "{name}-dr"
    probes:
      tcp: [PORT]
      http: ["http://{address}:PORT/health"]
      within: 20
  - name: others
    selection: name:debian*
    rename: "{name}-dr"
    approval: true
"""


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """The port of the service that the guest of web01 offers, whichever VM it runs in."""
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All that is left of a site: its repository. The digests of its VMs' first disks, by name, stand beside it."""
    folder = tmp_path_factory.mktemp("old")
    location = str(folder / "repository")
    create_repository(location)
    left = {"location": location}
    with start_lab(folder / "lab", data_disk_gib=0.0625) as lab:
        site = restoring.site_of(lab, location)
        for name in ("web01", ODD, "debian-template"):
            restoring.back_up(site, name)
        lab.write("web01", 2000, [{"offset": 1 << 20, "length": 1 << 16, "seed": 7}])
        restoring.back_up(site, "web01")
        left["web01"] = lab.hash("web01", 2000)
    return left


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The other vCenter. It has VMs of the same ids and names, which nobody may touch."""
    with start_lab(tmp_path_factory.mktemp("new") / "lab", data_disk_gib=0.0625) as lab:
        yield lab


@pytest.fixture
def vmkeep(
    repository: dict[str, str], there: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The command line of a bare machine: it knows the repository and the new vCenter, and has no state."""
    password = tmp_path / "password"
    password.write_text(there.password)
    password.chmod(0o600)
    for name, value in {
        "REPOSITORY": repository["location"], "CATALOG": f"sqlite:///{tmp_path}/catalog.db", "VDDK": str(there.vddk),
        "VCENTER": f"{there.host}:{there.port}", "USER": there.user, "PASSWORD_FILE": str(password),
        "THUMBPRINT": there.thumbprint,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VMKEEP_{name}", value)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=True, standalone_mode=False)

    return run


@pytest.fixture
def plan(tmp_path: Path, web: int) -> Path:
    file = tmp_path / "site-a.yaml"
    file.write_text(PLAN.replace("PORT", str(web)))
    return file


@contextmanager
def guests_that_start(lab: Lab, *names: str) -> Iterator[None]:
    """Let the guests of VMs start their services as soon as the VMs run, as real guests do."""
    over = threading.Event()

    def start() -> None:
        waiting = {*names}
        while waiting and not over.is_set():
            for vm in lab.state()["vms"]:
                if vm["name"] in waiting and vm["power"] == "poweredOn":
                    lab.post("guest/tools", {"vm": vm["name"], "running": True, "address": "127.0.0.1"})
                    waiting.discard(vm["name"])
            over.wait(0.05)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def card_of(lab: Lab, name: str) -> str:
    (card,) = (one for one in restoring.devices(lab, name) if isinstance(one, vim.vm.device.VirtualEthernetCard))
    return str(card.backing.deviceName)


def disks_of(lab: Lab, name: str) -> list[str]:
    found = restoring.devices(lab, name)
    return [one.backing.fileName for one in found if isinstance(one, vim.vm.device.VirtualDisk)]


def with_disk(devices: list[object], file_name: str) -> vim.vm.ConfigSpec:
    """The change by which a person attaches a file to a VM to look into it."""
    controller = next(one for one in devices if isinstance(one, vim.vm.device.VirtualSCSIController))
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file_name, diskMode="independent_nonpersistent")
    disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller.key, unitNumber=9, backing=backing)
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)])


def test_a_plan_is_refused_if_its_vms_together_have_no_room_though_each_alone_has(vmkeep, plan, there, repository):
    vmkeep("catalog", "rebuild")
    with open_repository(repository["location"]) as opened:
        image = next(point for point in opened.points() if point.vm.name == "web01").images[0]
        content = sum(extent.length for extent in opened.open_map(image.root).stored_extents())
    with restoring.hands(there) as session:
        (store,) = (one for one in session.content.rootFolder.childEntity[0].datastore if one.name == "datastore2")
        used = store.summary.capacity - store.summary.freeSpace
    there.settings(capacities={"datastore2": used + content * 3 // 2})
    try:
        planned = json.loads(vmkeep("dr", "plan", str(plan), "--json").stdout)
        refused = vmkeep("dr", "run", str(plan), "--approve", "all")
    finally:
        there.settings(capacities={"datastore2": DEFAULT_CAPACITY})

    first, second, third = planned["vms"]
    assert not first["refusal"]
    assert any("the thin disks and the swap file of the new VM can grow to" in line for line in first["warnings"])
    for vm in (second, third):
        assert "datastore datastore2 has" in vm["refusal"]
        assert "before the other VMs of the plan" in vm["refusal"]
    assert isinstance(refused.exception, ConflictError)
    assert "2 of 3 VMs cannot be restored, and nothing was changed" in str(refused.exception)


def test_a_bare_machine_restores_a_site_group_after_group_and_reports(vmkeep, plan, there, repository, tmp_path):
    before = {vm["moref"]: vm["name"] for vm in there.state()["vms"]}

    rebuilt = vmkeep("catalog", "rebuild")
    checked = vmkeep("dr", "check", str(plan), "--json")
    planned = vmkeep("dr", "plan", str(plan), "--json")
    unasked = vmkeep("dr", "run", str(plan), "--json")
    assert {vm["moref"]: vm["name"] for vm in there.state()["vms"]} == before
    page = tmp_path / "report.html"
    with guests_that_start(there, "web01-dr"):
        ran = vmkeep("dr", "run", str(plan), "--run", "r1", "--approve", "others", "--html", str(page), "--json")

    assert (rebuilt.exception, checked.exception, planned.exception, ran.exception) == (None, None, None, None)
    assert [(vm["group"], vm["new_name"]) for vm in json.loads(checked.stdout)["vms"]] == [
        ("databases", f"{ODD}-dr"), ("web", "web01-dr"), ("others", "debian-template-dr"),
    ]  # fmt: skip
    assert not any(vm["refusal"] for vm in json.loads(planned.stdout)["vms"])
    assert isinstance(unasked.exception, UsageError)
    assert "add --approve others, or --approve all" in str(unasked.exception)
    report = json.loads(ran.stdout)
    old, served, template = report["vms"]
    assert [vm["state"] for vm in report["vms"]] == ["off", "healthy", "off"]
    assert old["restored_at"] <= served["began"] <= served["healthy_at"] <= template["began"]
    assert (old["healthy_at"], old["rto_seconds"] > 0) == (None, True)
    assert [probe["told"] for probe in served["probes"]] == [
        "the VM runs", "VMware Tools run, the heartbeat is green", "127.0.0.1 takes connections", "status 200",
    ]  # fmt: skip
    with open_repository(repository["location"]) as opened:
        shown = Journal(opened, "r1").picture(served["picture"])
    assert b"web01-dr" in shown  # the lab writes the name of the VM into the picture of its console
    assert base64.b64encode(shown).decode() in page.read_text()
    assert not list(there.folder.glob("datastores/*/*/*.png"))
    assert not old["picture"]
    assert not old["probes"]  # it was off when it was backed up, and stays off
    assert report["rto_seconds"] > 0
    assert report["rpo_seconds"] > 0
    assert there.hash("web01-dr", 2000) == repository["web01"]
    assert card_of(there, "web01-dr") == "Backup Network"
    assert {vm["moref"]: vm["name"] for vm in there.state()["vms"]}.items() >= before.items()
    assert "web01-dr" in page.read_text()
    assert json.loads(vmkeep("dr", "report", "r1", "--json").stdout) == report
    assert [run["run"] for run in json.loads(vmkeep("dr", "list", "--json").stdout)] == ["r1"]
    assert {vm["vm_name"] for vm in json.loads(vmkeep("dr", "proved", "--json").stdout) if vm["proof"]} == {
        "web01"
    }  # the others were off and stay off, so that nobody knows whether they would start

    overdue = vmkeep("dr", "overdue", str(plan))
    assert isinstance(overdue.exception, SomeFailedError)
    assert overdue.stdout.splitlines() == [
        f"{ODD}: never proved restorable", "debian-template: never proved restorable",
    ]  # fmt: skip

    again = vmkeep("dr", "run", str(plan), "--run", "r1", "--approve", "all", "--json")
    assert [vm["moref"] for vm in json.loads(again.stdout)["vms"]] == [vm["moref"] for vm in report["vms"]]
    fresh = vmkeep("dr", "run", str(plan), "--approve", "all")
    assert isinstance(fresh.exception, ConflictError)
    assert f"a VM named {ODD}-dr exists" in str(fresh.exception)


def test_a_drill_goes_on_after_it_stopped_and_leaves_nothing(vmkeep, plan, there, repository):
    head, groups = plan.read_text().split("groups:\n")
    web = groups[groups.index("  - name: web") :].replace("within: 20", "within: 1\n    on_failure: stop_after_group")
    plan.write_text(f"{head}groups:\n{web}")
    before = sorted(restoring.names(there))

    there.fault(method="CreateScreenshot_Task", fault="InvalidState", count=1)
    stopped = vmkeep("dr", "run", str(plan), "--run", "d1", "--drill", "--keep", "--approve", "all", "--json")

    assert isinstance(stopped.exception, SomeFailedError)
    served, template = json.loads(stopped.stdout)["vms"]
    assert (served["state"], template["state"]) == ("unhealthy", "waiting")
    assert any("there is no picture of the console" in line for line in served["warnings"])
    assert template["error"] == "not begun, because group web says so when a VM fails, and drill-web01 failed"
    with restoring.hands(there) as session:
        made = session.vm(inventory.find_vm(session, "drill-web01").moref)
        assert {item.key: item.value for item in made.config.extraConfig}["vmkeep.drill"].endswith("/d1")
        assert made.config.instanceUuid != served["vm_key"]
    with open_repository(repository["location"]) as opened:  # the process died before it wrote this down
        journal = Journal(opened, "d1")
        journal.record(1, replace(journal.outcome(1), state=VmState.BEGUN, moref=None, restored_at=None))
    other_times = vmkeep("dr", "run", str(plan), "--run", "d1", "--drill", "--before", "2026-01-01T00:00Z")
    assert isinstance(other_times.exception, UsageError)

    with guests_that_start(there, "drill-web01"):
        eventually(lambda: there.vm("drill-web01")["power"] == "poweredOn", "the VM runs")
        healed = vmkeep("dr", "run", str(plan), "--run", "d1", "--drill", "--approve", "all", "--json")

    assert healed.exception is None
    outcomes = json.loads(healed.stdout)["vms"]
    assert [vm["tries"] for vm in outcomes] == [1, 1]
    assert outcomes[0]["moref"] == served["moref"]
    assert all(vm["removed"] for vm in outcomes)
    assert sorted(restoring.names(there)) == before
    assert "0 VMs" in vmkeep("dr", "clean", "d1").stdout


def test_a_clean_up_leaves_a_clone_and_a_disk_that_the_drill_did_not_make_and_tells_of_a_vm_it_cannot_read(
    vmkeep, plan, there, repository
):
    text = plan.read_text()
    plan.write_text(text[: text.index("  - name: web")] + text[text.index("  - name: others") :])
    before = sorted(restoring.names(there))
    kept = vmkeep("dr", "run", str(plan), "--run", "d2", "--drill", "--keep", "--approve", "all", "--json")
    assert kept.exception is None
    with restoring.hands(there) as session:
        made = session.vm(inventory.find_vm(session, "drill-debian-template").moref)
        mark = next(item for item in made.config.extraConfig if item.key == "vmkeep.drill")
    restoring.reconfigure(
        there, "web01", vim.vm.ConfigSpec(extraConfig=[mark])
    )  # as a clone of the other would have it
    foreign, *_ = disks_of(there, "web01")
    restoring.reconfigure(there, f"drill-{ODD}", with_disk(restoring.devices(there, f"drill-{ODD}"), foreign))

    there.post("vm/connection", {"vm": "drill-debian-template", "state": "inaccessible"})
    try:
        unread = vmkeep("dr", "clean", "d2", "--json")
    finally:
        there.post("vm/connection", {"vm": "drill-debian-template", "state": "connected"})
    left = [vm["removed"] for vm in json.loads(vmkeep("dr", "report", "d2", "--json").stdout)["vms"]]
    leftovers = restoring.swept(restoring.site_of(there, repository["location"]), Kind.DRILL)
    cleaned = vmkeep("dr", "clean", "d2", "--json")

    assert isinstance(unread.exception, SomeFailedError)
    assert "cannot be read (it is inaccessible)" in str(unread.exception)
    assert json.loads(unread.stdout)["removed"] == []
    assert left == [False, False]
    assert {(one.vm.name, one.state) for one in leftovers} == {
        (name, State.LEFT) for name in ("web01", "drill-debian-template", f"drill-{ODD}")
    }
    assert all("'vmkeep dr clean d2' removes it" in one.detail for one in leftovers)
    restoring.reconfigure(
        there, "web01", vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=mark.key, value="")])
    )
    assert isinstance(cleaned.exception, SomeFailedError)
    assert foreign in str(cleaned.exception)
    found = json.loads(cleaned.stdout)
    assert [vm["name"] for vm in found["removed"]] == ["drill-debian-template"]
    assert "web01" in found["strangers"][0]
    reported = json.loads(vmkeep("dr", "report", "d2", "--json").stdout)["vms"]
    assert [(vm["new_name"], vm["removed"]) for vm in reported] == [
        (f"drill-{ODD}", False), ("drill-debian-template", True),
    ]  # fmt: skip
    (left,) = {*restoring.names(there)} - {*before}
    assert left.startswith("drill-d")
    assert {*before} < {*restoring.names(there)}
    extra = next(one for one in restoring.devices(there, f"drill-{ODD}") if getattr(one, "unitNumber", 0) == 9)
    detach = vim.vm.device.VirtualDeviceSpec(operation="remove", device=extra)
    restoring.reconfigure(there, f"drill-{ODD}", vim.vm.ConfigSpec(deviceChange=[detach]))
    assert vmkeep("dr", "clean", "d2").exception is None
    assert sorted(restoring.names(there)) == before
    assert foreign in disks_of(there, "web01")


def test_a_drill_that_lost_its_lease_leaves_the_vms_and_the_journal_to_the_process_that_goes_on(
    vmkeep, plan, there, repository
):
    text = plan.read_text()
    plan.write_text(text[: text.index("  - name: web")] + text[text.index("  - name: others") :])
    wishes = RecoveryWishes(run="d3", plan=parse_plan(plan.read_text(), path=str(plan)), drill=True)

    told: list[str] = []
    with pytest.MonkeyPatch.context() as world:

        def lose_the_lease(_group: object, _vms: int) -> bool:
            world.setattr("vmkeep.repository.notes.leases._GIVES_UP_AFTER", -1.0)
            return True

        talk = RecoveryTalk(
            bars=restoring.silent, announce=told.append, tell=lambda *_outcome: None, approve=lose_the_lease
        )
        with pytest.raises(CancelledError):
            run_recovery(restoring.site_of(there, repository["location"]), wishes, talk=talk)

    assert any("another process goes on with this run" in line for line in told)
    with open_repository(repository["location"]) as opened:
        journal = Journal(opened, "d3")
        assert not journal.outcome(1).removed
        assert journal.outcome(2) is None
        assert journal.report() is None
    assert "1 VM of" in vmkeep("dr", "clean", "d3").stdout


def test_a_point_that_turns_out_damaged_is_passed_over_for_an_older_one_and_no_second_process_takes_the_run_meanwhile(
    vmkeep, plan, there, repository
):
    text = plan.read_text()
    group = "  - {name: web, selection: name:web01, power: 'off', probes: {guest: {command: id, connection: guest}}}\n"
    plan.write_text(text[: text.index("  - name: databases")] + group)
    site = restoring.site_of(there, repository["location"])
    newest = damage_newest(repository["location"], "web01")
    wishes = RecoveryWishes(run="d4", plan=parse_plan(plan.read_text(), path=str(plan)), drill=True)
    told: list[str] = []
    talk = RecoveryTalk(bars=restoring.silent, announce=told.append, tell=lambda *_outcome: None)
    refused: list[Exception] = []

    def second_call(_name: str) -> GuestLogin:
        with pytest.raises(ConflictError) as caught:
            run_recovery(site, wishes, talk=talk, logins=lambda _name: GuestLogin(user="u", password="p"))
        refused.append(caught.value)
        return GuestLogin(user="u", password="p")

    report = run_recovery(site, wishes, talk=talk, logins=second_call)

    (outcome,) = report.vms
    assert "at work elsewhere" in str(refused[0])
    assert (outcome.state, outcome.tries, outcome.removed) == (VmState.OFF, 2, True)
    assert outcome.point != newest
    assert report.rpo(report.vms) == (report.lost_at - outcome.taken_at).total_seconds()
    assert f"point {newest} turned out damaged" in outcome.stepped_back[0]
    assert any(outcome.stepped_back[0] in line for line in told)


def test_a_run_that_goes_on_takes_no_vm_for_healthy_that_was_removed_or_is_off(vmkeep, plan, there, repository):
    text = plan.read_text()
    group = "  - {name: w, selection: name:web01, rename: 'g-{name}', power: 'on', probes: {tools: false, within: 1}}\n"
    plan.write_text(text[: text.index("  - name: databases")] + group)
    on = "dr", "run", str(plan), "--run", "e7", "--json"

    first = json.loads(vmkeep(*on).stdout)["vms"][0]
    with restoring.hands(there) as session:
        machines.power_off(session, first["moref"])
    off = vmkeep(*on)
    with restoring.hands(there) as session:
        destroy(session, first["moref"])
    again = vmkeep(*on)

    assert first["state"] == "healthy"
    assert isinstance(off.exception, SomeFailedError)
    assert json.loads(off.stdout)["vms"][0]["state"] == "unhealthy"
    assert again.exception is None
    restored = json.loads(again.stdout)["vms"][0]
    assert (restored["state"], restored["tries"]) == ("healthy", first["tries"] + 1)
    assert restored["moref"] != first["moref"]
    with restoring.hands(there) as session:
        assert machines.is_there(session, restored["moref"])
        machines.power_off(session, restored["moref"])
        destroy(session, restored["moref"])


def destroy(session: Session, moref: str) -> None:
    run_task(session, session.vm(moref).Destroy_Task, what="test", timeout=HANG, look=lambda: None)


def damage_newest(location: str, name: str) -> str:
    """Flip a bit of the disk's content that only the newest point of a VM holds, and return the ref of the point."""
    with open_repository(location) as opened:
        newest = opened.load_point(opened.find_ref(f"latest:{name}"))
        root, block = newest.images[0].root, (1 << 20) // opened.block_size
        place = opened.open_blocks().locate(FrameKind.BLOCK, opened.open_map(root).lookup(block))
    pack = Path(location) / pack_key(place.pack)
    content = bytearray(pack.read_bytes())
    content[place.offset + place.length - 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    return str(newest.ref)


def test_a_command_in_the_guest_proves_a_vm_only_once_it_ends_well(there):
    there.post("guest/user", {"vm": "web01", "user": "backup", "password": "pw"})
    probes = Probes(guest=GuestProbe(command="systemctl is-active nginx", login="guest"), within=1)

    waits: list[str] = []

    def probed(login: GuestLogin) -> tuple[bool, str]:
        with restoring.hands(there) as session:
            moref = inventory.find_vm(session, "web01").moref
            *_, command = probe_vm(session, moref, probes, logins=lambda _name: login, stop=Stop(), tell=waits.append)
        return command.succeeded, command.told

    login = GuestLogin(user="backup", password="pw")
    there.post("guest/program", {"vm": "web01", "match": "is-active", "exit": 3, "output": "inactive"})
    inactive = probed(login)
    there.post("guest/program", {"vm": "web01", "match": "is-active", "output": "active"})
    waited = list(waits)
    active = probed(login)
    assert waits == waited == ["command in the guest: systemctl is-active nginx, for up to 1 s"]
    refused, why = probed(GuestLogin(user="backup", password="wrong"))

    assert inactive[0] is False
    assert inactive[1].startswith("exit code 3, it says: inactive")
    assert active[0] is True
    assert active[1].startswith("exit code 0, it says: active")
    assert not refused
    assert "backup" in why
    assert "wrong" not in why
    assert there.guest_files("web01") == []


def test_a_plan_that_does_not_fit_is_refused_before_anything_is_touched(vmkeep, plan, there, repository):
    before = sorted(restoring.names(there))
    text = plan.read_text().replace("{name}-dr", "{name}-once-more")

    plan.write_text(text.replace("VM Network=Backup Network", "VM Network=Nowhere"))
    refused = vmkeep("dr", "run", str(plan), "--run", "x1", "--approve", "all")
    plan.write_text(text.replace("name:debian*", "name:nothing*"))
    missing = vmkeep("dr", "check", str(plan))
    with open_repository(repository["location"]) as opened:
        for ref in opened.point_refs():
            opened.marks.suspect(ref, "Hard disk 1", reason="a block was left out")
    plan.write_text(text)
    doubted = vmkeep("dr", "run", str(plan), "--approve", "all")
    with open_repository(repository["location"]) as opened:
        for ref in opened.point_refs():
            opened.marks.trust(ref, reason="other tests need them", by="this test")

    assert isinstance(refused.exception, ConflictError)
    assert "Nowhere" in str(refused.exception)
    assert isinstance(missing.exception, PlanError)
    assert "group others: no VM of the repository fits it" in missing.stdout
    assert isinstance(doubted.exception, PlanError)
    assert "has no good point" in str(doubted.exception)
    assert sorted(restoring.names(there)) == before
    assert "x1" not in vmkeep("dr", "list").stdout


def with_mark(mark: str) -> vim.vm.ConfigSpec:
    """The change that gives a VM the mark of a drill; empty: that takes it off."""
    return vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="vmkeep.drill", value=mark)])


def test_a_command_is_run_in_a_vm_that_a_drill_has_kept_and_in_no_other_one(vmkeep, plan, there, repository, tmp_path):
    """Such a command may destroy data on purpose, so neither the original nor a clone may get it."""
    head, groups = plan.read_text().split("groups:\n")
    web = groups[groups.index("  - name: web") : groups.index("  - name: others")].split("    probes:\n")[0]
    plan.write_text(
        f"{head}groups:\n{web}    probes: {{tools: false}}\n    power: 'on'\n".replace("name:web*", "name:web01")
    )
    (tmp_path / "guest.pw").write_text("pw")
    (tmp_path / "guest.pw").chmod(0o600)
    user = ("--guest-user", "backup", "--guest-password-file", str(tmp_path / "guest.pw"))
    kept = vmkeep("dr", "run", str(plan), "--run", "e1", "--drill", "--keep", "--json")
    assert kept.exception is None, kept.output
    (made,) = json.loads(kept.stdout)["vms"]
    for vm in ("web01", "drill-web01"):
        there.post("guest/user", {"vm": vm, "user": "backup", "password": "pw"})
        there.post("guest/tools", {"vm": vm, "running": True, "address": "127.0.0.1"})
    there.post("guest/program", {"vm": "drill-web01", "match": "anonymise", "output": "12 rows changed"})
    there.post("guest/program", {"vm": "drill-web01", "match": "probe", "exit": 4, "output": "names are left"})

    done = vmkeep("dr", "exec", "e1", "drill-web01", "/opt/anonymise", *user, "--json")
    failed = vmkeep("dr", "exec", "e1", made["moref"], "/opt/probe", *user)
    original = vmkeep("dr", "exec", "e1", "web01", "/opt/anonymise", *user)
    with restoring.hands(there) as session:
        settings = {item.key: item.value for item in session.vm(made["moref"]).config.extraConfig}
    restoring.reconfigure(there, "drill-web01", with_mark(""))
    unmarked = vmkeep("dr", "exec", "e1", "drill-web01", "/opt/anonymise", *user)
    restoring.reconfigure(there, "drill-web01", with_mark(settings["vmkeep.drill"]))
    cleaned = vmkeep("dr", "clean", "e1")

    assert json.loads(done.stdout)["output"].strip() == "12 rows changed"
    assert isinstance(failed.exception, GuestCommandError)
    assert "exit code 4; it says: names are left" in str(failed.exception)
    assert isinstance(original.exception, NotFoundError)
    assert f"there are: drill-web01 ({made['moref']})" in str(original.exception)
    assert isinstance(unmarked.exception, ConflictError)
    assert [event for event in there.guest_events("web01") if "anonymise" in event.get("command", "")] == []
    assert "1 VM of drill e1 removed" in cleaned.stdout
