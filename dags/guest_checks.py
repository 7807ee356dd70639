"""
# Check the guests in restore points

Checks that the LVM volume groups of Linux guests are complete and agree with themselves.
So a disk that change tracking left behind is found after the backup, and not in a disaster.

| | |
|---|---|
| **Started by** | each sealed and verified restore point; the end of each window; or *Trigger* |
| **Events** | those of `vmkeep_restore_points` and `vmkeep_window_ends` |
| **Result** | numbers and names of the inconsistent VMs: run note and XCom of `tell`; a proof at each point |
| **If it fails** | a VM is inconsistent, or a point could not be checked: see the logs of `tell` and `check` |
| **Safe to re-run** | yes: it checks again, and keeps the outcome with each point |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections) |

## What the tasks do

| task | |
|---|---|
| `plan` | divides the new points, or the VMs of a run by hand, into parts; skips the rest if there are none |
| `check` | checks one part on a proxy: reads some kilobytes of each disk, looks twice before it reports a failure |
| `tell` | sums up all parts, and tells people if somebody has to look |
| `report` | fails the run if somebody has to look, or a part broke |

While a run is at work, events of further points wait, and one run checks all of them.
A run that a person triggers checks the newest point of each VM, or all points.
Guests that are no Linux by their configuration are passed over and counted.

A run without *Mark* marks nothing.
The runs that backups start go by Airflow's setting `[vmkeep] mark_torn_guests`, which is `False` at first.
With *Mark*, a point that contradicts itself is marked `SUSPECT`, and so is each later point that continues its disks.
Then the next backup of the VM reads everything.
`vmkeep point trust` takes a mark off.

People are told by an event of `vmkeep_guest_checks`,
and by mail if a policy that uses the repository names people in its notifications.
docs/operations/lvm-findings.md says what each finding means.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.assets import RESTORE_POINTS, WINDOW_ENDS
from vmkeep_airflow.guestchecks import marks_by_itself
from vmkeep_airflow.operators.check_guests import CheckGuestsOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.plan_guest_checks import PlanGuestChecksOperator
from vmkeep_airflow.operators.tell_guest_checks import TellGuestChecksOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, give_params, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "selector": optional_text(
        title="VMs",
        description="A selector, by name, folder, address, UUID or managed object id, e.g. name:db*. Empty: all VMs.",
    ),
    "all_points": Param(
        False, type="boolean", title="All points", description="Check all points of these VMs, not only the newest."
    ),
    "mark": Param(
        marks_by_itself(),
        type="boolean",
        title="Mark",
        description="Mark points that contradict themselves as suspect, so that the VM's next backup reads everything.",
    ),
    "proxy": PROXY,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="guest_checks",
    dag_display_name="Check the guests in restore points",
    description="Checks that the LVM volume groups in restore points are complete and agree with themselves",
    doc_md=__doc__,
    schedule=RESTORE_POINTS | WINDOW_ENDS,
    catchup=False,
    is_paused_upon_creation=True,
    tags=["vmkeep", "verification"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    planned = PlanGuestChecksOperator(
        task_id="plan",
        selector=dag.param("selector"),
        all_points=dag.param("all_points"),
        mark=dag.param("mark"),
        repository_conn_id="{{ params.repository }}",
        execution_timeout=timedelta(hours=1),
    )
    checked = CheckGuestsOperator.partial(
        task_id="check",
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        execution_timeout=timedelta(hours=12),
    ).expand_kwargs(planned.output)
    told = TellGuestChecksOperator(
        task_id="tell",
        repository_conn_id="{{ params.repository }}",
        trigger_rule="all_done",  # it tells the good parts of a run that fails, too
        execution_timeout=timedelta(minutes=30),
    )
    report = CloseRunOperator(
        task_id="report",
        result_task_id="tell",
        may_skip_after=("plan",),
        problems_of=("tell",),
        trigger_rule="all_done",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    )

    planned >> checked >> told >> report

    give_params(dag, PARAMS)
