"""
# Look for windows that did not open

Names the last window of each policy if Airflow has begun no run for its opening: its DAG is switched off or is missing,
no run was made, or it waits in the queue.

| | |
|---|---|
| **Started by** | its schedule, twice an hour, from the start; or *Trigger* |
| **Result** | the windows that did not open since the look before (XCom of `find`) |
| **If it fails** | a window did not open since the look before, or a policy file has faults since then: see `report` |
| **Safe to re-run** | yes: it changes nothing, and tells of no window twice |
| **Needs** | nothing but Airflow |

## What the tasks do

`find` takes the last window of each policy that opened five minutes ago or earlier, and asks Airflow for its run.
It tells the people of the policies, one message for all windows of the same people:
by mail, by notifiers, and by an event of `vmkeep_windows`.
Of several windows of a policy that passed between two looks, only the last is told.
Each window is told once, by a red run; the next look is green again, also if nobody did anything.
Whoever could not be told is told by the next look.
`find` itself is green, because Airflow drops the events of a task that fails.

`report` is red if `find` found something.

The example that comes with vmkeep is not told as long as nobody has switched it on.
A policy whose DAG was never switched on is told once, and so is a policy file with faults:
of that one, the people of all policies are told, because nobody can read who its own are.
A policy file that is new or has other times is judged from its next window on.

While Airflow's scheduler is down, this DAG does not run, either.
`vmkeep run windows`, called by a monitoring system, sees that.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.operators.find_missed_windows import FindMissedWindowsOperator
from vmkeep_airflow.operators.report import ReportOperator

with DAG(
    dag_id="missed_windows",
    dag_display_name="Look for windows that did not open",
    description="Names each backup window for whose opening Airflow has begun no run",
    doc_md=__doc__,
    schedule="10,40 * * * *",
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep"],
    max_active_runs=1,
    default_args={
        "owner": "vmkeep",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=20),
    },
) as dag:
    found = FindMissedWindowsOperator(task_id="find")
    report = ReportOperator(task_id="report", results_of=["find"], problems_of=["find"], trigger_rule="all_done")

    found >> report
