"""
# Maintain the repository

Forgets the restore points that no retention rule keeps, gives back the space that nothing needs any more, and keeps the
index small. Backups and restores go on meanwhile: nothing waits for it.

| | |
|---|---|
| **Started by** | its schedule, every day at 10:00, once it is switched on; or *Trigger* |
| **Result** | what was forgotten, deleted and merged: log and XCom of `report` |
| **If it fails** | nothing that a restore point needs was deleted; see the log. Damage is for `repository_check` |
| **Safe to re-run** | yes, and to stop at any time: the next run goes on |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections) |

## What stays

What the connection's field *Retention* says, e.g. `daily 14, weekly 8, monthly 12`, for every VM by itself. Fill in any
field of *Keep*, and for that run those count in place of the connection's. **With neither, no point goes.**
Pinned points stay, and so does the newest good point of each VM. Try it with *Dry run*: `prune` shows what would go.

## What the tasks do

| task | |
|---|---|
| `prune` | plans, shows the plan, and does it: forgets points, gives back space |
| `extend_locks` | on a repository with locks: locks again, in good time, what is still needed |
| `merge` | makes few index segments out of many, where it pays |
| `report` | shows what was done in one table, and fails the run if a task before it failed |

A task that is marked by hand as a success left no result, and one that is cleared without `report` is vouched for by
nobody: the run turns red, and its note says why. Clear the task with all after it.

Space comes back in two steps: a pack that nothing needs is condemned by one run, and deleted by one that comes at least
*Grace* later. What is needed of a pack that is mostly waste is moved, and then the pack goes the same way. If the store
is too full for that, `prune` does all the rest and fails.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.extend_locks import ExtendLocksOperator
from vmkeep_airflow.operators.merge import MergeIndexOperator
from vmkeep_airflow.operators.prune import PruneOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import REPOSITORY, optional_number, optional_text

KEEP = "Keep"
PARAMS = {
    "dry_run": Param(False, type="boolean", title="Dry run", description="Show what would be done, and do nothing."),
    "keep_last": optional_number(title="Last", description="So many of a VM's last points.", section=KEEP),
    "keep_hourly": optional_number(
        title="Hourly", description="The newest point of each of so many hours that have one.", section=KEEP
    ),
    "keep_daily": optional_number(
        title="Daily", description="The newest point of each of so many days that have one.", section=KEEP
    ),
    "keep_weekly": optional_number(
        title="Weekly", description="The newest point of each of so many weeks that have one.", section=KEEP
    ),
    "keep_monthly": optional_number(
        title="Monthly", description="The newest point of each of so many months that have one.", section=KEEP
    ),
    "keep_yearly": optional_number(
        title="Yearly", description="The newest point of each of so many years that have one.", section=KEEP
    ),
    "keep_within": optional_text(title="Within", description="All points so young: 36h, 14d, 8w or 2y.", section=KEEP),
    "time_zone": optional_text(
        title="Time zone",
        description="Where days and weeks begin, e.g. Europe/Berlin. Empty: the connection's, or UTC.",
        section=KEEP,
    ),
    "grace_hours": Param(
        48,
        type="number",
        minimum=0,
        title="Grace (hours)",
        description="How young a pack is left alone, and how long a condemned one stays: longer than the longest "
        "backup. With less, backups that run meanwhile may have to start again; nothing is ever harmed.",
        section="Garbage",
    ),
    "repository": REPOSITORY,
}

with DAG(
    dag_id="repository_maintenance",
    dag_display_name="Maintain the repository",
    description="Forgets restore points by retention, gives back space, merges the index",
    doc_md=__doc__,
    schedule="0 10 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    params=PARAMS,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    pruned = PruneOperator(
        task_id="prune",
        keep={name.removeprefix("keep_"): dag.param(name) for name in PARAMS if name.startswith("keep_")},
        time_zone=dag.param("time_zone"),
        grace_hours=dag.param("grace_hours"),
        plan_only=dag.param("dry_run"),
        repository_conn_id="{{ params.repository }}",
        execution_timeout=timedelta(hours=24),
    )
    locked = ExtendLocksOperator(
        task_id="extend_locks",
        plan_only=dag.param("dry_run"),
        repository_conn_id="{{ params.repository }}",
        trigger_rule="all_done",  # locks must not run out, whatever became of the prune
        execution_timeout=timedelta(hours=12),
    )
    merged = MergeIndexOperator(
        task_id="merge",
        plan_only=dag.param("dry_run"),
        repository_conn_id="{{ params.repository }}",
        trigger_rule="all_done",  # a prune that cannot go on is no reason for the index to grow
        execution_timeout=timedelta(hours=12),
    )
    reported = ReportOperator(
        task_id="report",
        results_of=["prune", "extend_locks", "merge"],
        trigger_rule="all_done",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    )

    pruned >> [locked, merged] >> reported
