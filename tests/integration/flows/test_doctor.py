"""``vmkeep doctor`` against a simulated vCenter and real stores: it finds what is broken, and changes nothing."""

from __future__ import annotations

import json
import socket
from collections import Counter

import pytest

from tests.command_line import run_here
from vmkeep.blobs import LockMode, LockRule, Space, hold_reserve, open_store
from vmkeep.errors import StoreError, UnfitError
from vmkeep.flows.doctor import State, examine, repository_subject, stores
from vmkeep.model.purpose import PURPOSES
from vmkeep.repository import create_encrypted_repository, create_repository, open_in, open_repository
from vmkeep.repository.unlock import descriptor
from vmkeep.testing.faulty import FaultyStore
from vmkeep.vsphere.rights import LOOKING


@pytest.fixture
def doctor(lab, tmp_path):
    """Run the doctor with settings for the lab and a new repository, some of them changed; return code and checks."""
    location = str(tmp_path / "repository")
    hold_reserve(create_repository(location).blobs)
    usual = {
        "VMKEEP_VCENTER": f"{lab.host}:{lab.port}", "VMKEEP_USER": "backup@vsphere.local",
        "VMKEEP_PASSWORD": lab.password, "VMKEEP_THUMBPRINT": lab.thumbprint, "VMKEEP_CA_FILE": None,
        "VMKEEP_VDDK": str(lab.vddk), "VMKEEP_REPOSITORY": location, "VMKEEP_CONFIG": "/dev/null",
        "VMKEEP_CATALOG": f"sqlite:///{tmp_path}/catalog.db", "VMKEEP_DISK_DRIVERS": None,
    }  # fmt: skip

    def run(*arguments, **changed):
        done = run_here("doctor", "--json", *arguments, **{**usual, **changed})
        document = json.loads(done.stdout)
        found = {}
        for check in document["checks"]:
            found.setdefault((check["about"].split()[0], check["name"]), []).append(check)
        return done.returncode, document, found

    return run


def only(found, about, name):
    (check,) = found[about, name]
    return check


def test_a_good_installation_is_called_good_and_the_hosts_of_a_simulated_one_are_not_known(doctor, lab, tmp_path):
    before = Counter(lab.state()["calls"])
    code, document, found = doctor()
    calls = set(Counter(lab.state()["calls"]) - before)

    assert (code, document["fit"]) == (0, True)
    not_ok = [check for check in document["checks"] if check["state"] != "ok" and check["about"] != "this machine"]
    assert {(check["name"], check["state"]) for check in not_ok} == {("ports of the hosts", "not known")}
    assert {check["text"].split(":")[0] for check in not_ok} == {"host esx01.localhost", "host esx02.localhost"}
    assert only(found, "this", "disk driver")["state"] == "ok"
    assert "VDDK 8.0.3 is made for vSphere 6.7 to 9.0" in only(found, "vCenter", "VDDK fits")["text"]
    assert calls <= {*LOOKING.calls}
    assert list((tmp_path / "repository").rglob("probes/*")) == []


def test_hosts_that_answer_are_no_fault(doctor, monkeypatch):
    """The lab's hosts have no names that resolve: this one test lends them the addresses of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        real = socket.create_connection
        monkeypatch.setattr(
            "vmkeep.flows.doctor.reaching.socket.create_connection",
            lambda address, **rest: real(("127.0.0.1", port) if "esx" in address[0] else address, **rest),
        )
        code, document, found = doctor()

    assert (code, document["fit"]) == (0, True)
    assert "of 2 hosts can be reached" in only(found, "vCenter", "ports of the hosts")["text"]


def test_each_missing_right_is_told_by_its_name(doctor):
    code, _, found = doctor(VMKEEP_USER="readonly@vsphere.local")

    backup = only(found, "vCenter", "rights for backup")
    assert (code, backup["state"]) == (UnfitError.exit_code, "fault")
    assert "VirtualMachine.State.CreateSnapshot" in backup["text"]
    assert "vmkeep setup role" in backup["remedy"]
    others = [only(found, "vCenter", f"rights for {word}") for word in PURPOSES if word != "backup"]
    assert {check["state"] for check in others} == {"warning"}


@pytest.mark.parametrize(
    ("changed", "name", "told"),
    [
        ({"VMKEEP_THUMBPRINT": "00" * 20}, "certificate", "not the pinned one"),
        ({"VMKEEP_PASSWORD": "wrong"}, "log-in", "refused"),
        ({"VMKEEP_VCENTER": "no-such-host.invalid"}, "certificate", "does not resolve"),
    ],
)
def test_a_vcenter_that_cannot_be_asked_leaves_no_later_check_good(doctor, changed, name, told):
    code, document, found = doctor(**changed)

    states = {check["name"]: check["state"] for check in document["checks"] if check["about"].startswith("vCenter")}
    names = list(states)
    assert told in only(found, "vCenter", name)["text"]
    assert code == UnfitError.exit_code
    assert {states[later] for later in names[names.index(name) + 1 :]} == {"not known"}
    assert only(found, "repository", "open")["state"] == "ok"


def test_what_is_not_set_is_not_known_and_an_odd_setting_is_a_fault(doctor):
    code, document, found = doctor(VMKEEP_VCENTER="", VMKEEP_REPOSITORY="", VMKEEP_VDDK="")

    assert (code, document["fit"]) == (0, True)
    assert only(found, "vCenter", "settings")["state"] == "not known"
    assert only(found, "repository", "settings")["remedy"] == "give --repository, or set VMKEEP_REPOSITORY"
    assert only(found, "this", "disk driver")["state"] == "warning"
    _, _, odd = doctor(VMKEEP_PASSWORD=None)
    assert only(odd, "vCenter", "settings")["state"] == "fault"


def test_a_machine_that_copies_no_disks_need_not_reach_the_hosts_and_does_not_say_that_it_does(doctor):
    code, document, found = doctor(VMKEEP_VDDK="")

    assert (code, document["fit"]) == (0, True)
    assert only(found, "vCenter", "ports of the hosts")["state"] == "not known"
    assert only(found, "vCenter", "VDDK fits")["state"] == "not known"


def test_a_vddk_that_is_none_is_a_fault(doctor, tmp_path):
    _, _, found = doctor(VMKEEP_VDDK=str(tmp_path))

    assert only(found, "this", "disk driver")["state"] == "fault"
    assert only(found, "vCenter", "VDDK fits")["state"] == "fault"


def test_the_page_for_people_has_the_remedy_below_each_finding(doctor, lab):
    told = run_here("doctor", VMKEEP_VCENTER="", VMKEEP_REPOSITORY="", VMKEEP_VDDK="", VMKEEP_CONFIG="/dev/null")

    assert "  NOT KNOWN  settings: no vCenter is named, so that none was looked at\n" in told.stdout
    assert "→ give --vcenter, or set VMKEEP_VCENTER" in told.stdout


def test_what_one_failure_kept_from_being_asked_stands_on_one_line(lab):
    told = run_here(
        "doctor", VMKEEP_VCENTER=f"{lab.host}:{lab.port}", VMKEEP_USER="u", VMKEEP_PASSWORD="p", VMKEEP_REPOSITORY="",
        VMKEEP_THUMBPRINT="00" * 20, VMKEEP_VDDK="", VMKEEP_CONFIG="/dev/null",
    )  # fmt: skip

    (line,) = [line for line in told.stdout.splitlines() if "not asked" in line]
    assert line.startswith("  NOT KNOWN  log-in, version, clock, rights for backup, ")
    assert line.endswith(": not asked, because 'certificate' failed")


def test_an_encrypted_repository_without_its_passphrase_is_a_fault_and_nobody_is_asked(doctor, tmp_path):
    create_encrypted_repository(str(tmp_path / "secret"), passphrase="correct horse")

    _, _, found = doctor(VMKEEP_REPOSITORY=str(tmp_path / "secret"), VMKEEP_PASSPHRASE=None)

    assert only(found, "repository", "open")["state"] == "fault"
    assert "passphrase" in only(found, "repository", "open")["text"]


# Repositories


def examined(repository, catalog=None):
    report = examine([repository_subject(repository.location, lambda: repository, catalog=catalog)])
    return {check.name: check for check in report.checks}


@pytest.mark.parametrize("verb", ["put", "get", "list", "delete"])
def test_a_store_that_fails_at_one_verb_is_not_called_good(tmp_path, verb):
    create_repository(str(tmp_path / "repository"))
    repository = open_repository(str(tmp_path / "repository"))
    faulty = FaultyStore(repository.blobs)
    faulty.fail(verb, with_=StoreError("out of order"))
    repository.blobs = faulty

    found = examined(repository)

    assert found["write and remove"].state is State.FAULT
    assert found["open"].state is State.OK


def test_a_store_that_gives_back_other_bytes_is_a_fault(tmp_path, monkeypatch):
    create_repository(str(tmp_path / "repository"))
    repository = open_repository(str(tmp_path / "repository"))
    monkeypatch.setattr(type(repository.blobs), "get", lambda _self, _key: b"other")

    assert examined(repository)["write and remove"].state is State.FAULT


def test_locks_that_are_asked_for_and_not_kept_are_a_fault(tmp_path):
    location = tmp_path / "repository"
    location.mkdir()
    store = open_store(str(location))
    rule = LockRule(mode=LockMode.COMPLIANCE, days=30)
    descriptor.create(store, descriptor.new_descriptor(block_size=262144, compression="zstd", lock=rule))

    locks = examined(open_in(store))["locks"]

    assert locks.state is State.FAULT
    assert "locks of 30 days (compliance), and this store keeps none" in locks.text


def test_a_catalog_that_cannot_be_used_is_told_and_hides_nothing(tmp_path):
    create_repository(str(tmp_path / "repository"))
    found = examined(open_repository(str(tmp_path / "repository")), catalog="sqlite:////proc/no/catalog.db")

    assert found["catalog"].state is State.FAULT
    assert found["open"].state is State.OK


def test_a_full_store_is_a_fault(tmp_path, monkeypatch):
    hold_reserve(create_repository(str(tmp_path / "repository")).blobs)
    monkeypatch.setattr(stores, "space_of", lambda _store: Space(free=0, capacity=1 << 40))

    assert examined(open_repository(str(tmp_path / "repository")))["free space"].state is State.FAULT


def test_a_repository_that_holds_back_no_room_for_deletions_is_told_until_it_does(tmp_path):
    def judged() -> list[State]:
        subject = repository_subject("x", lambda: open_repository(str(tmp_path / "repository")), catalog=None)
        return [check.state for check in examine([subject]).checks if check.name == "free space"]

    made = create_repository(str(tmp_path / "repository"))
    before = judged()
    with made.open_writer(run="a backup"):
        pass

    assert before == [*judged(), State.WARNING]
