"""Scans in Airflow: a find fails the run and stays with the point; a policy's new points follow their backups."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vmkeep.images import import_images
from vmkeep.model.proofs import ProofResult
from vmkeep.policy import read_file
from vmkeep.repository import create_repository, point_id
from vmkeep_airflow.operators.choose_scans import ChooseScansOperator
from vmkeep_airflow.operators.scan_point import ScanPointOperator
from vmkeep_airflow.states import PROBLEMS

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
POLICY = "name: nightly\nselection: name:web*\nwindow: {start: '22:00', end: '06:00', time_zone: UTC}\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A repository with a good and a bad point of a policy, one of another, and rules in the proxy's environment."""
    location = str(tmp_path / "repo")
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": location}))
    monkeypatch.delenv("VMKEEP_CLAMAV", raising=False)
    (tmp_path / "evil.yar").write_text('rule Evil { strings: $a = "EVIL" condition: $a }')
    monkeypatch.setenv("VMKEEP_YARA", str(tmp_path / "evil.yar"))
    repository = create_repository(location)
    refs = {}
    for name, policy, content in (("web01", "nightly", b"EVIL"), ("web02", "nightly", b"good"), ("db", "weekly", b"x")):
        image = tmp_path / f"{name}.img"
        image.write_bytes(bytes(2 << 20))
        subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
        subprocess.run(["mcopy", "-i", str(image), "-", "::file"], input=content, check=True)
        point = import_images(repository, [image], name=name)
        made = replace(
            point,
            id=point_id(name, point.vm.key),
            run=name,
            policy=policy,
            taken_at=point.taken_at.replace(year=2020),
            attachments={},
            attachment_sizes={},
        )
        refs[name] = repository.seal(made)
        repository.blobs.delete(f"points/{point.ref}")
    return repository, refs


def policy_of(folder, more=""):
    (folder / "nightly.yaml").write_text(POLICY + more)
    read = read_file(folder / "nightly.yaml")
    assert read.lines == ()
    return read.policy


def context_of(*, pushed: list[Any] | None = None, **fields: Any) -> Any:
    def push(key: str, value: Any) -> None:
        if pushed is not None:
            pushed.append((key, value))

    ti = SimpleNamespace(dag_id="malware_scan", run_id="manual__1", try_number=1, xcom_push=push)
    return {"ti": ti, **fields}


def announced(*points):
    return {"triggering_asset_events": {"asset": [SimpleNamespace(extra={"point": ref}) for ref in points]}}


def test_a_policys_new_points_are_scanned_and_nothing_else(world, tmp_path):
    _, refs = world
    choose = ChooseScansOperator(task_id="choose", policy=policy_of(tmp_path))

    assert choose.execute(context_of(**announced(refs["web01"], refs["db"], "elsewhere/x"))) == [
        {"point": refs["web01"], "vm": "web01"}
    ]
    with pytest.raises(AirflowSkipException, match="no new point"):
        choose.execute(context_of(**announced(refs["db"])))


@pytest.mark.usefixtures("world")
def test_a_person_names_points_and_vms():
    def chosen(**request):
        return [each["vm"] for each in ChooseScansOperator(task_id="choose", request=request).execute(context_of())]

    assert chosen(points=["latest:db"], selector=None) == ["db"]
    assert sorted(chosen(points=[], selector="name:web*")) == ["web01", "web02"]
    for wrong, words in ({}, r"'Restore points'.*'VMs'.*both are empty"), ({"selector": "name:nobody"}, "no VM"):
        with pytest.raises(AirflowFailException, match=words):
            chosen(**wrong)


def test_a_point_that_cannot_be_read_is_a_problem_of_the_run_and_keeps_no_other_from_its_scan(world, tmp_path):
    repository, refs = world
    for read_by in ({"selector": "name:web*"}, None):
        path = Path(repository.location, "points", refs["web02"])
        path.chmod(0o600)
        path.write_bytes(b"no manifest")
        pushed: list[Any] = []
        policy = None if read_by else policy_of(tmp_path)
        choose = ChooseScansOperator(task_id="choose", request=read_by, policy=policy)

        assert [each["vm"] for each in choose.execute(context_of(pushed=pushed))] == ["web01"]

        (line,) = dict(pushed)[PROBLEMS]
        assert line.startswith(f"{refs['web02']} is not scanned, because it cannot be read")


def test_a_run_of_which_no_point_can_be_read_says_so_and_is_no_success(world):
    repository, refs = world
    path = Path(repository.location, "points", refs["db"])
    path.chmod(0o600)
    path.write_bytes(b"no manifest")
    pushed: list[Any] = []

    with pytest.raises(AirflowSkipException, match="no point that can be scanned"):
        ChooseScansOperator(task_id="choose", request={"selector": "name:db"}).execute(context_of(pushed=pushed))

    assert "is not scanned" in dict(pushed)[PROBLEMS][0]
    closed = DagBag(str(ROOT / "dags/malware_scan.py")).dags["malware_scan"].get_task("close_run")
    assert ([*closed.problems_of], [*closed.may_skip_after]) == (["choose"], ["choose"])


def test_a_find_fails_the_task_for_good_and_stays_with_the_point(world):
    repository, refs = world
    operator = ScanPointOperator(task_id="scan", scan={"point": refs["web01"], "vm": "web01"}, rule="all")

    pushed: list[Any] = []
    with pytest.raises(AirflowFailException, match=r"malware in 1 file: disk0:/.* \(Evil\)"):
        operator.execute(context_of(pushed=pushed))

    told = dict(pushed)["return_value"]
    assert [(check["kind"], check["result"]) for check in told["checks"]] == [("malware", "failed")]  # for the mail

    [proof] = repository.proofs.of(refs["web01"])
    assert (proof.result, proof.by) == (ProofResult.FAILED, "DAG malware_scan")
    assert proof.run.startswith("manual-1-")


def test_a_clean_point_ends_well_and_the_next_scan_needs_only_what_changed(world):
    _, refs = world
    scan = {"point": refs["web02"], "vm": "web02"}

    done = ScanPointOperator(task_id="scan", scan=scan, rule="all").execute(context_of())

    assert (done["result"], done["scope"], done["files"], done["found"]) == ("passed", "whole", 1, 0)


def test_only_a_policy_that_asks_for_scans_has_a_dag_for_them(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    policy_of(tmp_path, "verification: {malware: changed}\n")
    (tmp_path / "weekly.yaml").write_text(POLICY.replace("nightly", "weekly"))

    bag = DagBag(str(ROOT / "dags/policy_scans.py"))

    assert bag.import_errors == {}
    assert list(bag.dags) == ["policy_scans_nightly"]
    names = [asset.name for asset in bag.dags["policy_scans_nightly"].timetable.asset_condition.objects]
    assert names == ["vmkeep_policy_points/nightly", "vmkeep_window_ends/nightly"], "no other policy starts a run"
    (made,) = bag.dags.values()
    assert "choose" in made.get_task("close_run").problems_of
    assert all(f"`{task.task_id}`" in made.doc_md for task in made.tasks)
    assert made.is_paused_upon_creation
    assert made.task_dict["scan"].partial_kwargs["queue"] == "backup_proxy"
    assert made.task_dict["scan"].partial_kwargs["rule"] == "changed"
