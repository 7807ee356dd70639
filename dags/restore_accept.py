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

from airflow.sdk import DAG

from vmkeep_airflow.params import give_params
from vmkeep_airflow.undoables import DEFAULTS, make_end, undoable_params

PARAMS = undoable_params(unasked="Remove the only way back, without asking a person.")

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
    default_args=DEFAULTS,
) as dag:
    make_end(dag, task_id="accept", undo=False)
    give_params(dag, PARAMS)
