"""The note of a green run of upkeep tells what was examined, read, kept and removed."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest

from vmkeep.flows.upkeep import CheckCounts
from vmkeep.model.job import to_plain
from vmkeep_airflow import plugin, upkeepnotes
from vmkeep_airflow.upkeepnotes import upkeep_lines

CHECKED = to_plain(CheckCounts(data="slice 3/30", findings=0, findings_by_kind={}, bytes_checked=3 << 30))


@pytest.mark.parametrize(
    ("dag_id", "result", "line"),
    [
        ("repository_check", CHECKED, "checked slice 3/30: 3.0 GiB, 0 findings"),
        ("repository_maintenance",
         {"plan": {"points": 9, "points_to_forget": 2},
          "done": {"points_forgotten": 2, "packs_deleted": 1, "bytes_freed": 1 << 20}},
         "2 points of 9 forgotten; 1 pack deleted, 1.0 MiB given back"),
        ("repository_maintenance", {"plan": {"points": 9, "points_to_forget": 2}},
         "only planned: 2 points of 9 would go"),
        ("host_config_backup", {"hosts_backed_up": 3, "hosts_failed": 0}, "3 hosts backed up"),
        ("snapshot_sweep", {"counts": {}}, "no leftovers"),
        ("snapshot_sweep", {"counts": {"snapshot": {"repaired": 2, "in use": 1}}},
         "snapshot: 2 repaired; snapshot: 1 in use"),
        ("missed_backups", {"nightly": [], "weekly": ["a", "b"]}, "2 policies with a max_age, 2 VMs overdue"),
        ("missed_backups", {}, "0 policies with a max_age, 0 VMs overdue"),
        ("missed_windows", {}, "no further window was missed"),
        ("missed_windows", {"nightly": "its DAG was off"}, "windows that did not open: nightly"),
        ("proxy_check", {"examine_a": {"ok": 9, "warning": 1}, "examine_b": {"ok": 8, "warning": 0}},
         "2 proxies examined: 17 ok, 1 warning"),
    ],
)  # fmt: skip
def test_the_note_of_a_green_run_of_upkeep_tells_what_it_has_done(monkeypatch, dag_id, result, line):
    monkeypatch.setattr(upkeepnotes, "is_ours", lambda _run: True)
    monkeypatch.setattr(upkeepnotes, "left_by", lambda _run, _task, _key: result)
    run = SimpleNamespace(dag_id=dag_id, note="by anna")
    for _ in range(2):  # a run that is cleared ends twice
        upkeepnotes.on_dag_run_success(run)
        assert run.note == f"by anna\n{line}"


@pytest.mark.parametrize("result", [None, {"skipped": "nothing to sweep yet"}, {"counts": 7}, "text"])
def test_a_run_without_a_result_that_can_be_read_gets_no_line(result):
    assert upkeep_lines("snapshot_sweep", result) == ()


@pytest.mark.parametrize("dag_id", sorted(upkeepnotes._WORDS))
def test_each_task_whose_result_is_told_is_one_of_its_dag(dag_id):
    task, _ = upkeepnotes._WORDS[dag_id]
    assert task in import_module(f"dags.{dag_id}").dag.task_ids


def test_airflow_calls_what_tells_it():
    assert upkeepnotes in plugin.VmkeepPlugin.listeners
