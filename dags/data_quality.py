"""
# Check the data quality of restore points

Asks the catalog for everything that should not be there, by a suite of Great Expectations:
VMs without a young point or without a policy, skipped disks, old snapshots and proofs,
maps that do not fit their disks, a catalog that differs from its repository,
and points that are unlike the VM's earlier ones.

| | |
|---|---|
| **Started by** | its schedule, every day at 08:00; the end of each backup window; or *Trigger* |
| **Result** | of each repository the result and the number of findings by expectation (XCom of `check`) |
| **If it fails** | a finding is a failure, or a repository cannot be checked: see `report`, or the page |
| **Safe to re-run** | yes: it changes no restore point |
| **Needs** | the connections that the policies name, a catalog for each repository, and the extra `quality` |

## What the tasks do

`check` looks at the repository of each policy.
It asks the policies' vCenters for their VMs and snapshots, reads a sample of manifests and roots of maps again,
lays all of that beside the catalog, and lets a checkpoint of Great Expectations ask for rows that should not be there.
Each finding says in the log what it means and what to do.
A policy's field `quality` raises or lowers the severity of its VMs' findings; only a failure makes the run red.
People are told of failures as the policies' notifications say: by mail, and by an event of `vmkeep_windows`.

`check` is green also if it found a failure, because Airflow drops the events of a task that fails.
`report` shows the numbers in one table, and fails then.

`vmkeep catalog quality --last --html quality.html` writes the last report as a page,
and `vmkeep catalog quality --history` lists the last ones.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from vmkeep_airflow.assets import WINDOW_ENDS
from vmkeep_airflow.operators.check_quality import CheckQualityOperator
from vmkeep_airflow.operators.report import ReportOperator

with DAG(
    dag_id="data_quality",
    dag_display_name="Check the data quality of restore points",
    description="Asks the catalog for everything that should not be there, and tells what to do about it",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 8 * * *", timezone="UTC"), assets=[WINDOW_ENDS]),
    catchup=False,
    is_paused_upon_creation=True,
    tags=["vmkeep", "quality"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 1, "execution_timeout": timedelta(hours=2)},
) as dag:
    checked = CheckQualityOperator(task_id="check")
    report = ReportOperator(
        task_id="report", results_of=["check"], problems_of=["check"], trigger_rule="all_done", retries=0
    )

    checked >> report
