"""
# Rehearse a recovery plan

Restores the VMs of a recovery plan to its isolated network, finds out whether they work, and removes them again.
There is one such DAG for each plan file that has a schedule in its field `drill`.
An edit of the file counts from the next time that Airflow reads its DAG files, some 30 seconds later.

| | |
|---|---|
| **Started by** | the plan's schedule, once the DAG is switched on; or *Trigger*, at any time |
| **Result** | each VM with its point, state and evidence (tasks `vm`); report and proofs stay in the repository |
| **If it fails** | see the tasks `vm` that are red; `vmkeep dr report RUN` has the evidence |
| **Safe to re-run** | yes: a drill that is cleared begins anew |
| **Needs** | the connections that the plan names, and its isolated network |

## What the tasks do

| task | |
|---|---|
| `approve` | passes at once, because every group counts as approved in a drill by schedule |
| `recover` | compares the plan with repository and vCenter, restores and probes the VMs, reports, and removes them |
| `vm` | shows the outcome of one VM, and is red if the VM is not restored and healthy |
| `clean_up` | removes the VMs that the drill has left, because its worker died |
| `report` | counts the VMs by their states, and fails the run if a VM is not healthy |

VMs that cannot be restored keep no other from being rehearsed.
After an outage, the last drill that was missed is made up for at once.
`vmkeep dr proved` lists when each VM was last proved restorable.
The DAG `missed_backups` names those that were not for longer than the plan's `proved_within`, whether this one runs or
not.

If a plan file has faults, it has no DAG until they are mended; Airflow lists them as an import error of
`policy_faults.py`.
"""

from __future__ import annotations

from airflow.sdk import DAG

from vmkeep_airflow.params import give_params
from vmkeep_airflow.plans import PREFIX, page_of, scheduled_drills
from vmkeep_airflow.recoveries import drill_params, make_recovery
from vmkeep_airflow.timetables import WindowTimetable

for drill in scheduled_drills():
    with DAG(
        dag_id=f"{PREFIX}{drill.plan.name}",
        dag_display_name=f"Rehearse the recovery of {drill.plan.name}",
        description=f"Rehearses the recovery plan {drill.plan.name} in its isolated network",
        doc_md=page_of(drill.plan, __doc__),
        schedule=WindowTimetable(drill.schedule),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["vmkeep", "restore", "drill"],
        max_active_runs=1,
        default_args={"owner": "vmkeep", "retries": 2},
    ) as dag:
        make_recovery(dag)
        give_params(dag, drill_params(drill))
