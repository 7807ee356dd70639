"""
# Check the repository

Checks that everything is there that a restore needs, and reads a part of the stored data.
Each day it reads another part, so that after some days it has read all of it.
So bit rot is found before a restore needs the block.

| | |
|---|---|
| **Started by** | its schedule, every day at 14:00, once it is switched on; or *Trigger* |
| **Result** | how much was read and what was found: log and XCom of `report` |
| **If it fails** | something is damaged, or the repository did not answer: see the log of `check` |
| **Safe to re-run** | yes: it deletes nothing and changes no restore point |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections) |

## What the tasks do

| task | |
|---|---|
| `check` | checks the structure of everything, and the digests of this day's slice; fails if something is damaged |
| `mark_damaged` | marks the restore points that lost something, and says what; takes the marks off whole ones |
| `report` | shows in one table what was read and found, and fails the run if an earlier task failed |

A task that is marked by hand as a success has left no result.
A task that is cleared without `report` has nobody who looked at its result.
In both cases the run turns red, and its note says why.
Clear the task together with all tasks after it.

## When something is damaged

The log of `check` has one line for each finding.
Damaged packs are noted, so that the next backup stores their blocks again where it meets them.
Damaged points are marked, so that retention and the next increment do not rely on them.
The healthy parts of a damaged point can still be restored.
The run stays red every day until the damage is repaired; known damage is found again without reading it.

Try these in turn:

1. `vmkeep repo repair index`
2. `vmkeep repo repair heal`, with `--from` and a second repository, if there is one
3. the VM's next backup

Then trigger this DAG with *Read all data*.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.check_repository import CheckRepositoryOperator
from vmkeep_airflow.operators.mark_damaged import MarkDamagedOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import REPOSITORY, give_params, optional_text

PARAMS = {
    "days": Param(
        30,
        type="integer",
        minimum=1,
        maximum=3660,
        title="All data in (days)",
        description="Each run reads one part of the data. After this many days all parts have been read.",
    ),
    "slice": optional_text(
        title="Slice", description="Read this part instead of the day's, e.g. 3/30: the third of thirty."
    ),
    "read_data": Param(
        False, type="boolean", title="Read all data", description="Read everything in this run, however long it takes."
    ),
    "repository": REPOSITORY,
}

with DAG(
    dag_id="repository_check",
    dag_display_name="Check the repository",
    description="Checks that everything is there that a restore needs, and reads all data again in daily slices",
    doc_md=__doc__,
    schedule="0 14 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    checked = CheckRepositoryOperator(
        task_id="check",
        days=dag.param("days"),
        part=dag.param("slice"),
        read_data=dag.param("read_data"),
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

    give_params(dag, PARAMS)
