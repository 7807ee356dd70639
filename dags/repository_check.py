"""
# Check the repository

Looks whether everything is there that a restore needs, and reads back a part of the stored data: each day another one,
so that after some days all of it was read. Bit rot is found before a restore needs the block.

| | |
|---|---|
| **Started by** | its schedule, every day at 14:00, once it is switched on; or *Trigger* |
| **Result** | what was read and found: log and XCom of `report` |
| **If it fails** | something is damaged, or the repository did not answer: see the log of `check` |
| **Safe to re-run** | yes: it deletes nothing and changes no restore point |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections) |

## What the tasks do

| task | |
|---|---|
| `check` | structure and existence of everything, digests of this day's slice; it fails when something is damaged |
| `mark_damaged` | marks the restore points that lost something and says what; unmarks those that are whole again |
| `report` | shows what was read and found in one table, and fails the run if a task before it failed |

A task that is marked by hand as a success left no result, and one that is cleared without `report` is vouched for by
nobody: the run turns red, and its note says why. Clear the task with all after it.

## When something is damaged

The log of `check` has one line for each finding. Damaged packs are noted, so that the next backup stores again what it
meets of them; damaged points are marked, so that retention and the next increment do not rely on them.
The run stays red every day until it is mended; damage that is known is found again without reading it. Healthy parts of
a damaged point can still be restored. In this order: `vmkeep repo repair index`, `vmkeep repo repair heal` (with
`--from` and a second repository, if there is one), or the VM's next backup; then trigger this DAG with *Read all data*.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.check_repository import CheckRepositoryOperator
from vmkeep_airflow.operators.mark_damaged import MarkDamagedOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import REPOSITORY, optional_text

PARAMS = {
    "days": Param(
        30,
        type="integer",
        minimum=1,
        maximum=3660,
        title="All data in (days)",
        description="Each day one of so many parts of the data is read, so that all of it is in so many days.",
    ),
    "slice": optional_text(
        title="Slice", description="Read this part instead of the day's, e.g. 3/30: the third of thirty."
    ),
    "read_all": Param(
        False, type="boolean", title="Read all data", description="Read everything in this run, however long it takes."
    ),
    "repository": REPOSITORY,
}

with DAG(
    dag_id="repository_check",
    dag_display_name="Check the repository",
    description="Checks that all is there that a restore needs, and re-reads the data in daily slices",
    doc_md=__doc__,
    schedule="0 14 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    params=PARAMS,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    checked = CheckRepositoryOperator(
        task_id="check",
        days=dag.param("days"),
        part=dag.param("slice"),
        read_all=dag.param("read_all"),
        repository_conn_id="{{ params.repository }}",
        execution_timeout=timedelta(hours=48),
    )
    marked = MarkDamagedOperator(
        task_id="mark_damaged",
        check_task_id="check",
        repository_conn_id="{{ params.repository }}",
        trigger_rule="all_done",  # it is for the check that fails
        execution_timeout=timedelta(hours=12),
    )
    reported = ReportOperator(
        task_id="report",
        results_of=["check", "mark_damaged"],
        trigger_rule="all_done",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    )

    checked >> marked >> reported
