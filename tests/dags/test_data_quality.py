"""The task that checks data quality: each repository by itself, and people are told of failures."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from typing import Any

import pytest

from tests.dags.test_window_notices import Events, TaskInstance, server  # noqa: F401
from tests.quality_world import point
from vmkeep.catalog import open_catalog
from vmkeep.clock import now
from vmkeep.quality import Finding, Judgement, QualityReport, Severity
from vmkeep.repository import create_repository, open_repository
from vmkeep_airflow.assets import ANNOUNCED, WINDOWS
from vmkeep_airflow.operators.check_quality import CheckQualityOperator, with_checks_at_work
from vmkeep_airflow.runnotes import not_met
from vmkeep_airflow.states import PROBLEMS


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Two repositories of three policies; a point of the first one's is too old, and no vCenter can be asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Great Expectations deprecates in itself is no error of ours
        import great_expectations  # noqa: F401
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}\nselection: name:*\nvsphere: none\nmax_age: 36h\n"
    told = "notifications: {when: problems, to: [me@example.com]}\n"
    repositories = {"nightly": "first", "quiet": "first", "other": "second", "absent": "third"}
    for name, repository in repositories.items():
        people = "notifications: {when: never, to: [nobody@example.com]}\n" if name == "quiet" else told
        rest = f"repository: {{connection: {repository}}}\n{people}"
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{window}{rest}")
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    for name in ("first", "second"):
        create_repository(str(tmp_path / name))
        catalog = f"sqlite:///{tmp_path}/{name}.db"
        fields = {"conn_type": "vmkeep", "host": str(tmp_path / name), "extra": {"catalog": catalog}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    with open_repository(str(tmp_path / "first")) as repository:
        repository.seal(point("web01", 60, images=()))
    return tmp_path


def run(site) -> tuple[dict[str, Any], list[Any]]:
    events: dict[Any, Events] = defaultdict(Events)
    left: dict[str, Any] = {}
    ti = TaskInstance({})
    ti.xcom_push = lambda key, value: left.update({key: value})
    found = CheckQualityOperator(task_id="check").execute({"ti": ti, "outlet_events": events})
    (problem,) = left[PROBLEMS]
    assert problem.startswith("repository first: rpo, 1 finding: web01: newest good restore point")
    return found, events[ANNOUNCED]


def test_a_failure_in_one_repository_is_told_to_its_people_and_hides_no_other_repository(site, server):  # noqa: F811
    left, events = run(site)

    assert {name: (found["result"], found["rpo"]) for name, found in left.items()} == {
        "first": ("failed", 1), "second": ("not looked at", 0),
    }  # fmt: skip
    assert not_met(left) == ["first: failed; rpo 1", "second: not looked at"]
    assert [(asset, extra["policy"]) for asset, extra in events] == [(WINDOWS, "nightly")]
    assert [to for to, _ in server.mails] == ["me@example.com"]
    with open_catalog(f"sqlite:///{site}/first.db") as catalog, open_repository(str(site / "first")) as repository:
        assert len(catalog.kept_reports(repository.id, most=9)) == 1


def test_a_vm_without_a_young_proof_whose_policy_is_being_checked_is_said_to_be_and_stays_a_failure():
    def finding(policy):
        return Finding(severity=Severity.FAILURE, vm="db01", policy=policy, point=None, disk=None, text="never proved")

    def judged(name, *policies):
        findings = tuple(map(finding, policies))
        return Judgement(id=name, title="", meaning="", remedy="", found=len(findings), findings=findings)

    asked: list[str] = []

    def at_work(dag_id):
        asked.append(dag_id)
        return {"verify_points_nightly": 2}.get(dag_id, 0)

    report = QualityReport(
        check="c", repository="r", location="/r", at=now(), seconds=1.0, points=1, vms=1, sampled=0,
        vcenters=(), policies=("nightly",),
        judgements=(judged("proof-age", "nightly", "nightly", "weekly", ""), judged("rpo", "nightly")),
    )  # fmt: skip
    proofs, rpo = with_checks_at_work(report, at_work).judgements
    told = "never proved; maybe being checked now: 2 runs of verify_points_nightly are at work"
    assert [each.text for each in proofs.findings] == [told, told, "never proved", "never proved"]
    assert (proofs.failed, rpo) == (True, report.judgements[1]), "nobody knows whether they will pass"
    assert asked == ["verify_points_nightly", "verify_points_weekly"], "Airflow is asked once for each policy"
