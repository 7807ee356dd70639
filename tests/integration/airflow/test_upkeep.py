"""The two DAGs that keep a repository in shape, against a repository in a folder; no vCenter is near.

Where the promise is one task's, only that task is done; where Airflow decides, the DAG really runs.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import warnings
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.integration.airflow.conftest import dag_of
from tests.unit.maintenance.conftest import BLOCK, described, write
from vmkeep.catalog import open_catalog
from vmkeep.clock import now
from vmkeep.repository import create_repository, open_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


class Folder:
    """A repository with some points of some VMs."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder / "repo")
        self.catalog = f"sqlite:///{folder}/catalog.db"
        create_repository(self.location, block_size=BLOCK)
        self.count = 0

    def back_up(self, vm: str, *seeds: int) -> str:
        """Store blocks and seal them as a point; return its ref."""
        self.count += 1
        run = f"run-{self.count}"
        with open_repository(self.location) as repository:
            with repository.open_writer(run=run) as out:
                root = write(repository, out, [random.Random(seed).randbytes(BLOCK) for seed in seeds])
                out.flush()
            ref = repository.seal(described(root, run, number=self.count, size=len(seeds) * BLOCK, vm=vm))
            with open_catalog(self.catalog) as catalog:
                catalog.refresh(repository)
        return ref

    @property
    def points(self) -> set[str]:
        with open_repository(self.location) as repository:
            return {point.ref for point in repository.points()}

    @property
    def in_catalog(self) -> set[str]:
        with open_repository(self.location) as repository, open_catalog(self.catalog) as catalog:
            return {entry.ref for entry in catalog.points(repository.id)}

    def packs(self) -> list[Path]:
        return [path for path in Path(self.location, "packs").rglob("*") if path.is_file()]

    def segments(self) -> int:
        return sum(path.is_file() for path in Path(self.location, "index").rglob("*"))

    def spoil(self) -> None:
        """Change a byte in the middle of the largest pack, which holds blocks."""
        pack = max(self.packs(), key=lambda path: path.stat().st_size)
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)

    def damaged(self) -> set[str]:
        with open_repository(self.location) as repository:
            return {ref for ref, marks in repository.marks.all().items() if marks.damage}


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def connections() -> dict[str, dict[str, object]]:
    """None from the start: no lab is needed."""
    return {}


@pytest.fixture
def set_connection(folder, run_dag, monkeypatch):
    def fields(**extra: str) -> None:
        connection = {"conn_type": "vmkeep", "host": folder.location, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(connection))

    fields(catalog=folder.catalog)
    return fields


dag_read_once = cache(dag_of)


def do(dag_id: str, task_id: str, **conf: object) -> Any:
    """Do one task of a DAG with the arguments that Airflow would render for a run with these params."""
    from airflow.sdk.definitions.param import process_params

    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id, run_id="by hand", xcom_push=lambda *_, **__: None)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # what Airflow deprecates in itself is no error of ours
        dag = dag_read_once(dag_id)
        task = dag.task_dict[task_id].prepare_for_execution()
        params = process_params(dag, task, conf, suppress_exception=False)
        context = {"dag": dag, "dag_run": SimpleNamespace(conf=conf, run_after=now()), "params": params, "ti": ti}
        task.render_template_fields(context)
        return task.execute(context)


def test_without_a_retention_only_garbage_goes(folder, set_connection):
    kept = {folder.back_up("app01", 1, 2), folder.back_up("app01", 2, 3)}
    dead = folder.back_up("app01", 4, 5)
    Path(folder.location, "sealed", dead).unlink()  # on purpose, so that nobody misses it
    Path(folder.location, "points", dead).unlink()
    before = len(folder.packs())

    deleted = 0
    for _ in range(2):  # one condemns, and the next one deletes: or the same one, with no grace
        pruned = do("repository_maintenance", "prune", grace_hours=0)
        assert pruned["rule"] is None
        assert pruned["done"]["points_forgotten"] == 0
        deleted += pruned["done"]["packs_deleted"]

    assert folder.points == kept
    assert deleted >= 1
    assert len(folder.packs()) < before


def test_the_connections_retention_is_applied_by_schedule_and_the_report_tells(folder, run_dag, set_connection):
    set_connection(retention="last 2", time_zone="Europe/Berlin", catalog=folder.catalog)
    old = [folder.back_up("app01", number, number + 1) for number in range(4)]
    other = folder.back_up("db01", 9)
    assert folder.in_catalog == {*old, other}

    run = run_dag("repository_maintenance")

    assert run.state == "success", run.states
    assert folder.points == {*old[2:], other}
    assert folder.in_catalog == {*old[2:], other}
    report = run.xcom("report")
    assert report["prune"]["rule"] == "last 2"
    assert report["prune"]["plan"]["points_to_forget"] == report["prune"]["done"]["points_forgotten"] == 2
    assert report["prune"]["plan"]["kept_for"] == {"last": 3}
    assert report["merge"]["done"].get("segments_removed", 0) == report["merge"]["segments_to_merge"]
    assert report["extend_locks"] == {"locks": False}


def test_a_runs_own_rule_stands_in_place_of_the_connections(folder, set_connection):
    set_connection(retention="last 1")
    points = {folder.back_up("app01", number) for number in range(3)}

    pruned = do("repository_maintenance", "prune", keep_last=2, keep_within="2h")

    assert pruned["rule"] == "last 2, within 2h"
    assert len(folder.points & points) == 2


def test_a_dry_run_shows_and_changes_nothing(folder, run_dag, set_connection):
    points = {folder.back_up("app01", number) for number in range(4)}
    files = set(Path(folder.location).rglob("*"))

    run = run_dag("repository_maintenance", keep_last=1, dry_run=True, grace_hours=0)

    assert run.state == "success", run.states
    assert run.xcom("prune")["plan"]["points_to_forget"] == 3
    assert "done" not in run.xcom("prune")
    assert "done" not in run.xcom("merge")
    assert folder.points == points
    assert {path for path in Path(folder.location).rglob("*") if path.is_file()} == {p for p in files if p.is_file()}


def test_a_pinned_point_stays_and_is_counted(folder, set_connection):
    pinned = folder.back_up("app01", 1)
    with open_repository(folder.location) as repository:
        repository.marks.pin(pinned, reason="case 4711", by="test", until=now() + timedelta(days=1))
    newest = [folder.back_up("app01", number) for number in (2, 3)][-1]

    pruned = do("repository_maintenance", "prune", keep_last=1)

    assert folder.points == {pinned, newest}
    assert pruned["plan"]["kept_for"] == {"last": 1, "pinned": 1}


def test_many_segments_become_few(folder, set_connection):
    for number in range(8):
        folder.back_up("app01", number)
    before = folder.segments()

    merged = do("repository_maintenance", "merge")

    assert merged["segments"] == before
    assert folder.segments() < before
    assert do("repository_check", "check", read_data=True)["findings"] == 0


def test_a_connection_that_makes_no_rule_fails_the_run_and_nothing_goes(folder, run_dag, set_connection):
    set_connection(retention="fortnightly 2")
    points = {folder.back_up("app01", number) for number in range(2)}

    run = run_dag("repository_maintenance")

    assert run.state == "failed"
    assert (run.states["prune"], run.states["merge"], run.states["report"]) == ("failed", "success", "failed")
    assert folder.points == points


def test_a_connection_that_names_no_time_zone_fails_the_prune_and_nothing_goes(folder, set_connection):
    set_connection(retention="last 1", time_zone="Mars/Olympus")
    points = {folder.back_up("app01", number) for number in range(2)}

    with pytest.raises(AirflowFailException, match="Mars/Olympus"):
        do("repository_maintenance", "prune")

    assert folder.points == points


def test_a_point_that_cannot_be_read_stops_the_prune_and_the_run_is_red(folder, run_dag, set_connection):
    points = [folder.back_up("app01", number) for number in range(3)]
    manifest = Path(folder.location, "points", points[-1])
    manifest.chmod(0o600)
    manifest.write_bytes(b"rot")
    packs = folder.packs()

    run = run_dag("repository_maintenance", keep_last=1, grace_hours=0)

    assert run.state == "failed"
    assert run.states["prune"] == "failed"
    assert run.xcom("report")["prune"] is None
    assert set(packs) <= set(folder.packs())


def test_a_healthy_repository_is_green_and_its_slice_is_the_days(folder, run_dag, set_connection):
    folder.back_up("app01", 1, 2)

    run = run_dag("repository_check", days=3)

    assert run.state == "success", run.states
    report = run.xcom("report")
    assert report["check"]["findings"] == 0
    number, of = report["check"]["data"].removeprefix("slice ").split("/")
    assert (of, int(number)) == ("3", (int(time.time()) // 86400) % 3 + 1)
    assert report["mark_damaged"] == {"damaged": 0, "manifests_damaged": 0, "marked": [], "cleared": []}


def test_the_slices_of_all_days_together_find_what_is_damaged_on_any(folder, set_connection):
    folder.back_up("app01", 1, 2)
    folder.spoil()
    green = []
    for number in (1, 2):
        with contextlib.suppress(AirflowFailException):
            green.append(do("repository_check", "check", slice=f"{number}/2"))
    assert len(green) < 2


def test_damage_fails_the_check_marks_the_point_and_stays_red_until_it_is_healed(folder, run_dag, set_connection):
    damaged, good = folder.back_up("app01", 1, 2, 3), folder.back_up("db01", 9)
    folder.spoil()

    found = run_dag("repository_check", read_data=True)

    assert found.state == "failed"
    assert (found.states["check"], found.states["mark_damaged"], found.states["report"]) == (
        "failed", "success", "failed",
    )  # fmt: skip
    report = found.xcom("report")
    assert report["check"]["findings_by_kind"]["digest"] >= 1
    assert report["mark_damaged"]["marked"] == [damaged]
    assert folder.damaged() == {damaged}
    assert folder.points == {damaged, good}

    known = run_dag("repository_check", slice="1/1000")
    assert known.state == "failed", "damage that is known is told though its pack is not read"
    assert known.xcom("mark_damaged")["marked"] == []

    folder.back_up("app01", 1, 2, 3)
    healed = run_dag("repository_check", read_data=True)
    assert healed.xcom("mark_damaged")["cleared"] == [damaged]
    assert folder.damaged() == set()


def test_a_damaged_point_is_no_ground_to_drop_a_good_one(folder, run_dag, set_connection):
    good, damaged = folder.back_up("app01", 9), folder.back_up("app01", 1, 2, 3)
    folder.spoil()
    assert run_dag("repository_check", read_data=True).xcom("mark_damaged")["marked"] == [damaged]

    do("repository_maintenance", "prune", keep_last=1)

    assert good in folder.points


@pytest.mark.parametrize("dag_id", ["repository_maintenance", "repository_check"])
def test_a_repository_that_is_not_there_fails_the_run(run_dag, monkeypatch, dag_id):
    missing = {"conn_type": "vmkeep", "host": "/nowhere/repo"}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(missing))
    run = run_dag(dag_id)
    assert run.state == "failed"
    done = {task for task, state in run.states.items() if state == "success"}
    assert done <= {"approve"}, "which asks nobody, and so no repository"
