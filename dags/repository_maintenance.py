"""
# Maintain the repository

Forgets the restore points that no retention rule keeps, gives back the space that nothing needs any more,
and keeps the index small.
Backups and restores go on meanwhile, and wait for nothing.

| | |
|---|---|
| **Started by** | its schedule, every day at 10:00, once it is switched on; or *Trigger* |
| **Result** | how much was forgotten, deleted and merged: log and XCom of `report` |
| **If it fails** | nothing that a restore point needs was deleted; see the log. `repository_check` looks for damage |
| **Safe to re-run** | yes, and safe to stop at any time: the next run goes on |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections) |

## Which points stay

The connection's field *Retention* says how many points of each VM stay, e.g. `daily 14, weekly 8, monthly 12`.
If you fill in any field of *Keep*, those fields count for that run, in place of the connection's.
The VMs of a policy with a *retention* of its own go by that rule; and if its file is gone or has faults, not at all.
**If neither says anything, no point goes.**
Pinned points stay, and so does the newest good point of each VM.
Try it with *Dry run*: then `prune` shows what would go.

## What the tasks do

| task | |
|---|---|
| `approve` | asks a second person, where one is demanded, about points that the agreed rules keep; silence is a no |
| `prune` | plans, shows the plan, and carries it out: forgets points, gives back space |
| `extend_locks` | in a repository with locks: extends in good time the locks of what is still needed |
| `merge` | merges many index segments into few, where it pays |
| `report` | shows in one table what was done, and fails the run if an earlier task failed |

Where a second person would have to be asked, a run of the schedule fails at `approve`, and so does a run that was
cleared: nobody knows the first person there. Start it by hand; another person answers.

A task that is marked by hand as a success has left no result.
A task that is cleared without `report` has nobody who looked at its result.
In both cases the run turns red, and its note says why.
Clear the task together with all tasks after it.

Space comes back in two steps: one run condemns a pack that nothing needs, and a run at least *Grace* later deletes it.
A pack that is mostly waste goes the same way, after its needed frames were copied into a new pack.
If the store is too full for such copies, `prune` does everything else, and fails.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param
from airflow.sdk.api.datamodels._generated import DagRunType

from vmkeep_airflow.limits import ASKED_AGAIN
from vmkeep_airflow.operators.approve_prune import ApprovePruneOperator
from vmkeep_airflow.operators.extend_locks import ExtendLocksOperator
from vmkeep_airflow.operators.merge import MergeIndexOperator
from vmkeep_airflow.operators.prune import PruneOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import REPOSITORY, give_params, optional_number, optional_text

KEEP = "Keep"
PARAMS = {
    "dry_run": Param(False, type="boolean", title="Dry run", description="Show what would be done, and do nothing."),
    "keep_last": optional_number(title="Last", description="Keep this many of a VM's newest points.", section=KEEP),
    "keep_hourly": optional_number(
        title="Hourly", description="Keep the newest point of an hour, for this many hours that have one.", section=KEEP
    ),
    "keep_daily": optional_number(
        title="Daily", description="Keep the newest point of a day, for this many days that have one.", section=KEEP
    ),
    "keep_weekly": optional_number(
        title="Weekly", description="Keep the newest point of a week, for this many weeks that have one.", section=KEEP
    ),
    "keep_monthly": optional_number(
        title="Monthly",
        description="Keep the newest point of a month, for this many months that have one.",
        section=KEEP,
    ),
    "keep_yearly": optional_number(
        title="Yearly", description="Keep the newest point of a year, for this many years that have one.", section=KEEP
    ),
    "keep_within": optional_text(
        title="Within", description="Keep all points younger than this: 36h, 14d, 8w or 2y.", section=KEEP
    ),
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
RUN_TYPES = [DagRunType.SCHEDULED, DagRunType.MANUAL, DagRunType.OPERATOR_TRIGGERED]
"""No backfill: it makes no sense for an earlier day, and could run again with other rules what somebody has started."""

with DAG(
    dag_id="repository_maintenance",
    dag_display_name="Maintain the repository",
    description="Forgets restore points by a retention rule, gives back space, and merges the index",
    doc_md=__doc__,
    schedule="0 10 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    allowed_run_types=RUN_TYPES,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    rules = {
        "keep": {name.removeprefix("keep_"): dag.param(name) for name in PARAMS if name.startswith("keep_")},
        "time_zone": dag.param("time_zone"),
        "plan_only": dag.param("dry_run"),
        "repository_conn_id": "{{ params.repository }}",
    }
    approved = ApprovePruneOperator(
        task_id="approve",
        response_timeout=timedelta(hours=20),  # so that the run of the next day can begin
        execution_timeout=timedelta(minutes=30),
        **ASKED_AGAIN,
        **rules,
    )
    pruned = PruneOperator(
        task_id="prune",
        grace_hours=dag.param("grace_hours"),
        execution_timeout=timedelta(hours=24),
        **rules,
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
        results_of=["approve", "prune", "extend_locks", "merge"],
        trigger_rule="all_done",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    )

    approved >> pruned >> [locked, merged] >> reported

    give_params(dag, PARAMS)
