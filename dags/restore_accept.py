"""
# Accept a restore

Removes the snapshot that a restore keeps, so that the restored state stays.
The VM may run meanwhile.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API |
| **Result** | the VM and its restore (XCom of `accept`) |
| **If it fails** | the snapshot may still be there; nothing else is changed: trigger the DAG again |
| **Safe to re-run** | yes: it is done once, and a further run finds no snapshot |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

A restore keeps a snapshot of its VM only if *Way back* of *Restore a VM* says `snapshot`.

## What the tasks do

| task | |
|---|---|
| `find` | finds the VM and the restore that keeps a snapshot, and changes nothing |
| `approve` | shows both and asks a person (Required Actions in this UI); no answer within 24 hours is a no |
| `accept` | removes the snapshot; from then on the restore cannot be undone |
| `close_run` | fails the run unless every earlier task ended well and left its result |

A yes is to the restore that was shown, and to no other.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.approve_undo import ApproveUndoOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.end_undoable import EndUndoableOperator
from vmkeep_airflow.operators.find_undoable import FindUndoableOperator
from vmkeep_airflow.params import REPOSITORY, VSPHERE, give_params, optional_text

PARAMS = {
    "vm": Param(
        type="string",
        minLength=1,
        title="VM",
        description="The restored VM: a name, or uuid:, moref:, ipaddr: and a value.",
    ),
    "restore": optional_text(
        title="Restore",
        description="The restore, by its run key, as the log of finish and the sweep name it. Empty: the only one "
        "that keeps a snapshot.",
    ),
    "yes": Param(
        False,
        type="boolean",
        title="Do not ask",
        description="Remove the only way back, without asking a person.",
    ),
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="restore_accept",
    dag_display_name="Accept a restore",
    description="Keep the restored state of a VM, and remove the snapshot of the state before",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "restore"],
    max_active_runs=64,
    default_args={
        "owner": "vmkeep",
        "retries": 2,
        "execution_timeout": timedelta(hours=26),  # because merging a large snapshot takes hours
    },
) as dag:
    site = {"vsphere_conn_id": "{{ params.vsphere }}", "repository_conn_id": "{{ params.repository }}"}

    found = FindUndoableOperator(task_id="find", vm=dag.param("vm"), restore=dag.param("restore"), **site)
    approved = ApproveUndoOperator(
        task_id="approve", found=found.output, yes=dag.param("yes"), undo=False, response_timeout=timedelta(hours=24)
    )
    done = EndUndoableOperator(
        task_id="accept",
        found=found.output,
        approval=approved.output,
        undo=False,
        **site,
    )
    closed = CloseRunOperator(task_id="close_run", result_task_id="accept", retries=0).as_teardown(
        on_failure_fail_dagrun=True
    )

    found >> approved >> done >> closed

    give_params(dag, PARAMS)
