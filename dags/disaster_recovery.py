"""
# Recover from a disaster, or rehearse it

Restores all VMs of a recovery plan to the vCenter of the form, group after group, and finds out whether they work.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or one call of the REST API, with the plan or its name |
| **Result** | each VM with its point, state and evidence (tasks `vm`); the report is kept in the repository |
| **If it fails** | see the tasks `vm` that are red; clear `recover`, and the run goes on with all that is not done |
| **Safe to re-run** | yes: VMs that are healthy are left alone; a drill that is cleared begins anew |
| **Needs** | connections of types *VMware vSphere*, to the vCenter to restore to, and *vmkeep repository* |

## What the tasks do

| task | |
|---|---|
| `approve` | asks a person which groups may begin, if groups need an approval and have none; else passes at once |
| `recover` | compares the plan with repository and vCenter, restores and probes the VMs, and reports |
| `vm` | shows the outcome of one VM, and is red if the VM is not restored and healthy |
| `clean_up` | removes the VMs that a drill has left, because its worker died |
| `report` | counts the VMs by their states, and fails the run if a VM is not healthy |

The plan is one of those that *Recoveries* lists, by its name, or the text of a plan file.
It is read once, by `approve`: what that shows is carried out, also if the file changes meanwhile.
Nothing is changed before the whole plan was compared.
The groups before the first one that is not approved are restored, and the run stops there.
To be asked about the rest, clear `approve` with the tasks behind it: the run goes on with all that is not done.
A VM that fails stops no other, unless its group says so.

A *drill* restores to the isolated network that the plan names, with new names and identities.
At its end the VMs that carry its mark are removed.

`vmkeep dr check` finds every fault of a plan beforehand, and `vmkeep dr report RUN --html FILE` writes the report;
the log of `recover` tells the id of the run. docs/operations/disaster-recovery.md describes plans.
A plan with a schedule for drills has a DAG of its own (`recovery_drill_NAME`).
"""

from __future__ import annotations

from airflow.sdk import DAG

from vmkeep_airflow.params import give_params
from vmkeep_airflow.recoveries import PARAMS, make_recovery

with DAG(
    dag_id="disaster_recovery",
    dag_display_name="Recover from a disaster",
    description="Restores all VMs of a recovery plan, or rehearses it in an isolated network",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "restore"],
    max_active_runs=4,
    default_args={"owner": "vmkeep", "retries": 2},
) as dag:
    make_recovery(dag)
    give_params(dag, PARAMS)
