"""Laws that hold for every DAG file, without running one."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import AssetOrTimeSchedule, BaseOperator
from airflow.serialization.serialized_objects import DagSerialization
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for

from tests.patience import HANG

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
LISTED = {
    "backup_windows.py": ("backup_window_example", "22:00 to 06:00 Europe/Berlin"),
    "data_quality.py": ("data_quality", "vmkeep_window_ends or 0 8 * * * UTC"),
    "disaster_recovery.py": ("disaster_recovery", None),
    "disk_attach.py": ("disk_attach", None),
    "export_point.py": ("export_point", None),
    "guest_checks.py": ("guest_checks", "vmkeep_restore_points or vmkeep_window_ends"),
    "host_config_backup.py": ("host_config_backup", "0 4 * * *"),
    "malware_scan.py": ("malware_scan", None),
    "missed_backups.py": ("missed_backups", "0 9 * * *"),
    "missed_windows.py": ("missed_windows", "10,40 * * * *"),
    "policy_checks.py": None,
    "policy_exports.py": None,
    "policy_faults.py": None,
    "policy_scans.py": None,
    "proxy_check.py": ("proxy_check", None),
    "recovery_drills.py": ("recovery_drill_example", "06:00 to 06:00 Europe/Berlin, sat"),
    "repository_check.py": ("repository_check", "0 14 * * *"),
    "repository_maintenance.py": ("repository_maintenance", "0 10 * * *"),
    "restore_accept.py": ("restore_accept", None),
    "restore_undo.py": ("restore_undo", None),
    "snapshot_sweep.py": ("snapshot_sweep", "*/10 * * * *"),
    "verify_points.py": ("verify_points", None),
    "vm_backup.py": ("vm_backup", None),
    "vm_restore.py": ("vm_restore", None),
}
"""Every DAG file, its DAG and its schedule; ``None``: it makes no DAG.

A file that is not listed is refused: list it here, document it there.
"""

AWAKE = ("snapshot_sweep", "missed_backups", "missed_windows")
"""DAGs with a schedule that are on from the start."""

HEAVY = (
    *("pyVmomi", "pyVim", "numpy", "blake3", "obstore", "pandas", "great_expectations", "vmlab"),
    *("vmkeep.flows.backup", "vmkeep.flows.restore", "vmkeep.repository", "vmkeep.transfer", "vmkeep.vsphere"),
    "vmkeep.maintenance",
)


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(ROOT / "dags"))


def test_every_dag_file_is_listed_and_every_listed_file_exists():
    assert {path.name for path in DAG_FILES} == set(LISTED)


def test_every_dag_file_imports_without_errors(bag):
    assert bag.import_errors == {}


def test_every_file_holds_the_dag_it_is_named_after(bag):
    found = {Path(dag.fileloc).name: (dag_id, _words(dag.schedule)) for dag_id, dag in bag.dags.items()}
    assert found == {name: listed for name, listed in LISTED.items() if listed is not None}


def _words(schedule):
    if isinstance(schedule, list):
        return ", ".join(asset.name for asset in schedule)
    if isinstance(schedule, AssetOrTimeSchedule):
        asset = schedule.asset_condition.objects[0]
        return f"{asset.name} or {schedule.timetable.expression} {schedule.timetable.timezone}"
    if hasattr(schedule, "objects"):
        return " or ".join(asset.name for asset in schedule.objects)
    return schedule if schedule is None else str(getattr(schedule, "summary", schedule))


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_every_dag_file_begins_with_a_page_of_documentation(path):
    page = ast.get_docstring(ast.parse(path.read_text()))
    assert page is not None
    assert page.startswith("# ")
    for row in ("**Started by**", "**If it fails**", "**Safe to re-run**"):
        assert row in page, f"{path.name} does not say: {row}"


def test_every_dag_shows_its_page_in_the_user_interface(bag):
    for dag in bag.dags.values():
        assert dag.doc_md
        assert dag.doc_md.strip().startswith("# ")


def test_every_task_is_explained_on_its_dags_page(bag):
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert f"`{task.task_id}`" in dag.doc_md, f"{dag.dag_id} does not explain {task.task_id}"


def test_every_param_has_a_title_and_a_help_text(bag):
    for dag in bag.dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema.get("title"), f"{dag.dag_id}.{name} has no title"
            help_text = param.description or param.schema.get("description_md")
            assert help_text, f"{dag.dag_id}.{name} has no help text"
            assert "type" in param.schema, f"{dag.dag_id}.{name} has no type"


def test_no_task_has_its_own_copies_of_its_dags_params(bag):
    """Airflow makes them for each task at each reading of the file, which is in every task, and stores them."""
    copies = {f"{dag.dag_id}.{task.task_id}": len(task.params) for dag in bag.dags.values() for task in dag.tasks}
    assert {task: count for task, count in copies.items() if count} == {}


def test_every_param_is_checked_by_the_draft_that_is_cheap_to_check(bag):
    """Airflow checks all of them in every task."""
    for dag in bag.dags.values():
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            assert validator_for(schema) is Draft7Validator, f"{dag.dag_id}.{name} is checked by another draft"


def test_every_task_has_a_time_limit_and_no_run_has_one_for_that_skips_the_teardowns(bag):
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.execution_timeout, f"{dag.dag_id}.{task.task_id} could run for ever"
        assert dag.dagrun_timeout is None, f"{dag.dag_id} would leave a snapshot when its time is over"


def test_a_question_outlives_answers_that_airflow_loses(bag):
    asking = [task for dag in bag.dags.values() for task in dag.tasks if isinstance(task, HITLOperator)]
    assert {task.dag_id for task in asking} >= {"vm_restore", "restore_undo", "disaster_recovery"}
    assert {task.dag_id: task.retries for task in asking if task.retries < 20} == {}
    assert {task.dag_id for task in asking if task.retry_exponential_backoff} == set(), "20 growing pauses take weeks"


def test_no_field_of_an_operator_hides_a_method_that_airflow_calls(bag):
    for dag in bag.dags.values():
        for task in dag.tasks:
            hidden = {field for field in task.template_fields if callable(getattr(BaseOperator, field, None))}
            assert hidden == set(), f"{dag.dag_id}.{task.task_id}"


def test_what_sums_a_run_up_comes_after_every_other_task(bag):
    """It reads their states; one that is not before it may still be at work."""
    for dag in bag.dags.values():
        (last,) = [task for task in dag.tasks if not task.downstream_task_ids]
        before = last.get_flat_relative_ids(upstream=True)
        assert before == {task.task_id for task in dag.tasks} - {last.task_id}, dag.dag_id


def test_what_sums_a_run_up_waits_for_each_task_that_runs_whatever_became_of_those_before_it(bag):
    """Such a task begins when all right before it have ended. One between it and the last may have ended by then."""
    for dag in bag.dags.values():
        steady = {task.task_id for task in dag.tasks if task.is_teardown or task.trigger_rule == "all_done"}
        (last,) = [task for task in dag.tasks if not task.downstream_task_ids]
        reached, new = set(), {last.task_id}
        while new:
            reached |= new
            new = {before for task in new for before in dag.get_task(task).upstream_task_ids} & steady - reached
        assert steady <= reached, dag.dag_id


def test_every_run_that_changes_a_vm_ends_with_a_task_that_vouches_for_it(bag):
    """Airflow takes a run's state from its last task, and a mark by hand would make that one green."""
    for dag in bag.dags.values():
        if {"backup", "restore", "recovery"} & set(dag.tags):
            (last,) = [task for task in dag.tasks if not task.downstream_task_ids]
            assert last.task_id in ("close_run", "report"), dag.dag_id


def test_dags_that_start_by_themselves_are_paused_but_the_sweep_the_watches_and_those_a_person_starts_are_not(bag):
    """A run of a paused DAG stays queued, and nothing tells why. No switch is to hide a leftover or a missed backup."""
    for dag in bag.dags.values():
        paused = dag.schedule is not None and dag.dag_id not in AWAKE
        assert dag.is_paused_upon_creation is paused, dag.dag_id


def test_reading_the_dag_files_imports_nothing_heavy():
    """The scheduler's helpers read them every few seconds."""
    probe = (
        "import sys; from pathlib import Path; import runpy\n"
        "for path in Path(sys.argv[1]).glob('*.py'): runpy.run_path(str(path))\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(ROOT / "dags")], capture_output=True, text=True, check=True, timeout=HANG
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_dag_files_hold_no_logic():
    for path in DAG_FILES:
        tree = ast.parse(path.read_text())
        logic = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.While | ast.If | ast.Try)]
        assert not logic, f"{path.name} decides something at line {logic[0].lineno}"


def test_reading_a_dag_again_makes_no_new_version_of_it(bag):
    """An object's memory address in what is serialised would: Airflow then shows a new version every 30 seconds."""
    for dag in bag.dags.values():
        assert not re.search(r" object at 0x", json.dumps(DagSerialization.serialize_dag(dag))), dag.dag_id
