"""Checks of points in Airflow: a policy's new points are checked as its turns say, and a failure is told."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from vmkeep.errors import UnsupportedError
from vmkeep.images import import_images
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind
from vmkeep.policy import Notifications, NotifyWhen, read_file
from vmkeep.repository import Repository, create_repository
from vmkeep_airflow import notifiers
from vmkeep_airflow.operators import tell_failed_checks, verify_point
from vmkeep_airflow.operators.choose_checks import ChooseChecksOperator
from vmkeep_airflow.operators.choose_points import ChoosePointsOperator
from vmkeep_airflow.operators.find_unproved import FindUnprovedOperator

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
POLICY = (
    "name: nightly\nselection: name:web*\nwindow: {start: '22:00', end: '06:00', time_zone: UTC}\n"
    "verification: {digests: always, file_systems: always, proved_within: 30d, proved_by: digests}\n"
)


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "nightly.yaml").write_text(POLICY)
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path / "policies"))
    return create_repository(str(tmp_path / "repo"))


@pytest.fixture
def policy(repository, tmp_path):
    return read_file(tmp_path / "policies" / "nightly.yaml").policy


def store(repository: Repository, folder: Path, vm: str = "web01", policy: str | None = "nightly") -> RestorePoint:
    (folder / "disk.raw").write_bytes(vm.encode() * 4096)
    point = import_images(repository, [folder / "disk.raw"], name=f"scratch-{vm}")
    made = replace(point, vm=replace(point.vm, name=vm, key=f"5029ab12-{vm}"), run=f"run-{vm}", policy=policy)
    repository.seal(made)
    return made


class Ti(SimpleNamespace):
    """A task instance that keeps its result, as Airflow does."""

    def xcom_push(self, key: str, value: Any) -> None:
        if key == "return_value":
            self.pushed = value


def context_of(clears: int = 0, **fields: Any) -> Any:
    ti = Ti(dag_id="verify_points", run_id="manual__1", try_number=1, max_tries=0, task_id="verify", pushed=None)
    return {"ti": ti, "dag_run": SimpleNamespace(clear_number=clears), **fields}


def announced(*points: RestorePoint) -> dict[str, Any]:
    return {"triggering_asset_events": {"asset": [SimpleNamespace(extra={"point": point.ref}) for point in points]}}


def verify(job: Any) -> verify_point.VerifyPointOperator:
    return verify_point.VerifyPointOperator(task_id="verify", job=job)


def test_a_policys_new_points_are_checked_and_nothing_else(repository, policy, tmp_path):
    point, other = store(repository, tmp_path), store(repository, tmp_path, "db01", policy="weekly")
    choose = ChooseChecksOperator(task_id="choose", policy=policy)

    (job,) = choose.execute(context_of(**announced(point, other)))

    assert (job["point"], job["name"], job["levels"]) == (point.ref, "web01", ["file-systems", "all"])
    with pytest.raises(AirflowSkipException, match="no new point"):
        choose.execute(context_of(**announced(other)))


def test_each_check_leaves_a_proof_with_its_run_and_a_retry_does_none_twice(repository, policy, tmp_path, monkeypatch):
    point = store(repository, tmp_path)
    (job,) = ChooseChecksOperator(task_id="choose", policy=policy).execute(context_of(**announced(point)))

    done = verify(job).execute(context_of())
    again = verify(job).execute(context_of())
    verify(job).execute(context_of(clears=1))

    assert [(check["kind"], check["result"]) for check in done["checks"]] == [
        ("file-systems", "undecided"), ("digests", "passed"),
    ]  # fmt: skip
    assert again == done
    proofs = [proof for proof in repository.proofs.of(point.ref) if proof.kind is ProofKind.DIGESTS]
    assert len(proofs) == 2, "a person who clears a run wants a new look"
    assert len({proof.run for proof in proofs}) == 2
    assert {proof.by for proof in proofs} == {"DAG verify_points"}


def test_a_job_that_asks_for_it_keeps_the_names_of_all_files_with_the_point(repository, tmp_path):
    image = tmp_path / "files.raw"
    image.write_bytes(bytes(2 << 20))
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", str(image), "-", "::invoice.txt"], input=b"x", check=True)
    point = import_images(repository, [image], name="files")

    done = verify({"point": point.ref, "name": "files", "file_index": True}).execute(context_of())

    assert (done["checks"], done["files"]) == ([], 1)
    assert repository.proofs.of(point.ref) == ()
    assert repository.file_lists.head(point.ref).entries == 1


def test_a_point_that_does_not_pass_fails_its_task_at_once_after_all_its_checks(repository, tmp_path):
    point = store(repository, tmp_path)
    for blob in list(repository.blobs.list("packs/")):
        repository.blobs.delete(blob.key)
    context = context_of()

    with pytest.raises(AirflowFailException, match=r"web01, restore point .*, did not pass: digests: "):
        verify({"point": point.ref, "name": "web01", "levels": ["all", "written"]}).execute(context)

    assert [check["result"] for check in context["ti"].pushed["checks"]] == ["failed", "failed"]
    assert len(repository.proofs.of(point.ref)) == 2


def test_a_check_that_cannot_be_done_hides_none_that_failed_before_it(repository, tmp_path, monkeypatch):
    from vmkeep.flows import policy_checks

    point = store(repository, tmp_path)
    for blob in list(repository.blobs.list("packs/")):
        repository.blobs.delete(blob.key)
    real = policy_checks.verify

    def broken(opened, ref, request, **rest):
        if request.level == "boot":
            raise UnsupportedError("QEMU is not installed")
        return real(opened, ref, request, **rest)

    monkeypatch.setattr(policy_checks, "verify", broken)
    context = context_of()

    with pytest.raises(AirflowFailException, match="QEMU is not installed"):
        verify({"point": point.ref, "name": "web01", "levels": ["all", "boot"]}).execute(context)

    assert [(check["kind"], check["result"]) for check in context["ti"].pushed["checks"]] == [("digests", "failed")]

    alone = context_of()
    with pytest.raises(AirflowFailException, match="QEMU is not installed"):
        verify({"point": point.ref, "name": "web01", "levels": ["boot"]}).execute(alone)
    assert not alone["ti"].pushed, "a point of which no check said anything is not counted as one that was checked"


def test_a_task_that_is_killed_leaves_no_proof(repository, tmp_path, monkeypatch):
    from vmkeep.flows import policy_checks

    point = store(repository, tmp_path)
    killed = verify({"point": point.ref, "name": "web01", "levels": ["all"]})
    real = policy_checks.do_checks

    def killed_at_once(*given: Any, check: Any, **named: Any) -> Any:
        killed.on_kill()
        check()
        return real(*given, check=check, **named)

    monkeypatch.setattr(policy_checks, "do_checks", killed_at_once)
    with pytest.raises(AirflowException):
        killed.execute(context_of())

    assert repository.proofs.of(point.ref) == ()


def test_points_are_chosen_by_name_or_selector_and_a_name_that_fits_none_ends_the_run(repository, tmp_path):
    point = store(repository, tmp_path)
    fields = {"levels": ["all"], "boot_seconds": 600, "boot_signs": ["login"]}

    def choose(**given: Any) -> Any:
        return ChoosePointsOperator(task_id="choose", request=fields | given).execute(context_of())

    by_name = choose(points=["latest:web01"], selector=None)
    assert by_name == choose(points=[], selector="name:web*")
    assert [(job["point"], job["name"]) for job in by_name] == [(point.ref, "web01")]
    for wrong in ({"points": ["latest:nobody"]}, {"selector": "name:nobody"}, {}, {"points": ["x"], "selector": "y"}):
        with pytest.raises(AirflowFailException):
            choose(**wrong)
    with pytest.raises(AirflowFailException, match=r"'Restore points'.*latest:app01.*'Or VMs'.*both are empty"):
        choose()


def tell(monkeypatch, results: list[dict[str, Any]], states: dict[str, str], when: NotifyWhen) -> tuple[Any, Any, Any]:
    """Run the task that tells people. Return its result, the events and the mails."""
    sent: list[Any] = []
    monkeypatch.setattr(tell_failed_checks, "task_results", lambda _context, names: dict.fromkeys(names, results))
    monkeypatch.setattr(tell_failed_checks, "task_states", lambda _context: states)
    monkeypatch.setattr(notifiers, "send_mail", lambda to, **mail: sent.append((to, mail)))
    events: list[Any] = []
    alias = SimpleNamespace(add=lambda asset, extra: events.append((asset.name, extra)))
    operator = tell_failed_checks.TellFailedChecksOperator(
        task_id="tell", policy="nightly", wish=Notifications(when=when, to=("me@example.com",)), of="verify"
    )
    told = operator.execute(context_of(outlet_events={tell_failed_checks.ANNOUNCED: alias}))
    return told, events, sent


def result(vm: str, outcome: str) -> dict[str, Any]:
    return {"point": f"{vm}/p", "vm": vm, "checks": [{"kind": "boot", "result": outcome, "text": "a panic"}]}


def test_people_are_told_of_each_point_that_did_not_pass_or_was_not_checked(monkeypatch):
    results = [result("web01", "failed"), result("web02", "passed"), result("web03", "undecided")]
    states = {
        "verify_0": "failed",
        "verify_1": "success",
        "verify_2": "success",
        "verify_3": "failed",
        "choose": "success",
    }

    told, events, ((to, mail),) = tell(monkeypatch, results, states, NotifyWhen.PROBLEMS)

    assert told == {"points": 3, "failed": 1, "undecided": 1, "mail": ["me@example.com"]}
    assert to == ("me@example.com",)
    assert "web01, web01/p: boot failed: a panic" in mail["text"]
    assert "1 point could not be checked" in mail["text"]
    assert [(name, extra["policy"], len(extra["problems"])) for name, extra in events] == [
        ("vmkeep_windows", "nightly", 2)
    ]


@pytest.mark.parametrize(
    ("outcome", "when"), [("passed", NotifyWhen.ALWAYS), ("undecided", NotifyWhen.ALWAYS), ("failed", NotifyWhen.NEVER)]
)
def test_nobody_is_told_if_nothing_failed_or_the_policy_says_so(monkeypatch, outcome, when):
    states = {"verify_0": "failed" if outcome == "failed" else "success"}

    told, events, sent = tell(monkeypatch, [result("web01", outcome)], states, when)

    assert (told["mail"], events, sent) == ([], [], [])


def test_an_alarm_names_the_vms_that_were_not_proved_in_time_also_if_the_vcenter_is_silent(
    repository, tmp_path, monkeypatch
):
    point = store(repository, tmp_path)
    silent = {"conn_type": "vsphere", "host": "127.0.0.1", "port": 9, "login": "u", "password": "p"}
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(silent))

    def alarm():
        context = context_of()
        with pytest.raises(AirflowFailException) as caught:
            FindUnprovedOperator(task_id="find_unproved").execute(context)
        return str(caught.value), context["ti"].pushed

    message, pushed = alarm()
    assert "policy nightly: 1 VM not proved in time: web01: never proved" in message
    assert pushed == {"policy nightly": ["web01: never proved"]}

    verify({"point": point.ref, "name": "web01", "levels": ["all"]}).execute(context_of())
    message, pushed = alarm()
    assert message.startswith("policy nightly: nobody can tell which VMs have no restore point: ")
    assert pushed == {"policy nightly": []}

    monkeypatch.delenv("AIRFLOW_CONN_VSPHERE_DEFAULT")
    assert "nobody can tell which VMs have no restore point" in alarm()[0]


def test_only_a_policy_that_asks_for_checks_has_a_dag_for_them(repository, tmp_path):
    folder = tmp_path / "policies"
    (folder / "weekly.yaml").write_text(POLICY.partition("verification")[0].replace("name: nightly", "name: weekly"))

    bag = DagBag(str(ROOT / "dags/policy_checks.py"))

    assert bag.import_errors == {}
    assert list(bag.dags) == ["verify_points_nightly"]
    (made,) = bag.dags.values()
    assert all(f"`{task.task_id}`" in made.doc_md for task in made.tasks)
    assert all(task.execution_timeout for task in made.tasks)
    (last,) = [task for task in made.tasks if not task.downstream_task_ids]
    assert last.task_id == "close_run"
    assert made.task_dict["verify"].partial_kwargs["queue"] == "backup_proxy"
    names = [asset.name for asset in made.timetable.asset_condition.objects]
    assert names == ["vmkeep_policy_points/nightly", "vmkeep_window_ends/nightly"], "no other policy starts a run"
    assert type(made.timetable.asset_condition).__name__.endswith("AssetAny")
