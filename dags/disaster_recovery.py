"""
# Recover from a disaster, or rehearse it

Restores all VMs of a recovery plan to the vCenter of the form, group after group, and finds out whether they work.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or one call of the REST API with the plan in it |
| **Result** | each VM with its point, state and evidence (tasks `vm`); the report is kept in the repository |
| **If it fails** | see the tasks `vm` that are red; clear `recover`, and the run goes on with all that is not done |
| **Safe to re-run** | yes: VMs that are healthy are left alone; a drill that is cleared begins anew |
| **Needs** | connections of types *VMware vSphere*, to the vCenter to restore to, and *vmkeep repository* |

## What the tasks do

| task | |
|---|---|
| `recover` | compares the plan with repository and vCenter, restores and probes the VMs, and reports |
| `vm` | shows the outcome of one VM, and is red if the VM is not restored and healthy |
| `clean_up` | removes the VMs that a drill has left, because its worker died |
| `report` | counts the VMs by their states, and fails the run if a VM is not healthy |

Nothing is changed before the whole plan was compared.
A VM that fails stops no other, unless its group says so.

A *drill* restores to the isolated network that the plan names, with new names and identities.
At its end the VMs that carry its mark are removed.

`vmkeep dr check` finds every fault of a plan beforehand, and `vmkeep dr report RUN --html FILE` writes the report;
the log of `recover` tells the id of the run. docs/operations/disaster-recovery.md describes plans.
To rehearse on a schedule, trigger this DAG from one of your own.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.limits import PATIENT
from vmkeep_airflow.operators.recover_site import (
    CleanUpDrillOperator,
    RecoveredVmOperator,
    RecoverSiteOperator,
    ReportRecoveryOperator,
)
from vmkeep_airflow.params import PROXY, REPOSITORY, VSPHERE, give_params, optional_lines, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "plan": Param(
        type="string",
        minLength=1,
        format="multiline",
        title="Plan",
        description="The text of the plan file; 'vmkeep dr schema' prints its fields.",
    ),
    "drill": Param(
        False,
        type="boolean",
        title="Drill",
        description="Rehearse: restore to the plan's isolated network, probe, and remove the VMs again.",
    ),
    "approved": optional_lines(
        title="Approved groups",
        description="Names of the groups that need an approval and have it, one in each line, or all.",
    ),
    "despite_refusals": Param(
        False,
        type="boolean",
        title="Despite refusals",
        description="Restore the other VMs if some cannot be restored. Without it, nothing is begun then.",
    ),
    "before": optional_text(
        title="Before", description="Take no restore point that is younger than this time, e.g. 2026-11-20T03:00:00Z."
    ),
    "lost_at": optional_text(
        title="Lost at", description="Time of the disaster, from which the age of the data counts. Empty: now."
    ),
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

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
    recovered = RecoverSiteOperator(
        task_id="recover",
        queue=BACKUP_PROXY,
        pool=BACKUP_PROXY,
        execution_timeout=timedelta(hours=60),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
        **{name: dag.param(name) for name in ("plan", "drill", "approved", "despite_refusals", "before", "lost_at")},
        **PATIENT,
    )
    shown = RecoveredVmOperator.partial(
        task_id="vm",
        map_index_template="{{ task.outcome['new_name'] }}",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    ).expand(outcome=recovered.output)

    cleaned = CleanUpDrillOperator(
        task_id="clean_up",
        trigger_rule="all_done",
        retries=5,
        execution_timeout=timedelta(hours=2),
        drill=dag.param("drill"),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
    )
    reported = ReportRecoveryOperator(
        task_id="report", trigger_rule="all_done", retries=0, execution_timeout=timedelta(minutes=5)
    )

    recovered >> cleaned
    [shown, cleaned] >> reported

    give_params(dag, PARAMS)
