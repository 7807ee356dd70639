"""
# Undo a restore

Puts a VM back to the state before its restore, also before one that failed half-way.
All that the VM has written since is lost.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API |
| **Result** | the VM and its restore (XCom of `undo`) |
| **If it fails** | the VM is given back as it was found, or it stays off and marked, and the log says which |
| **Safe to re-run** | yes: it is done once, and a further run finds no snapshot |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

A restore keeps a snapshot of its VM only if *Way back* of *Restore a VM* says `snapshot`.

## What the tasks do

| task | |
|---|---|
| `find` | finds the VM and the restore that keeps a snapshot, and changes nothing |
| `approve` | shows both and asks a person (Required Actions in this UI); no answer within 24 hours is a no |
| `undo` | switches the VM off, goes back to the snapshot, and removes it; the next backup is a full one |
| `close_run` | fails the run unless every earlier task ended well and left its result |

A yes is to the restore that was shown, and to no other.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from vmkeep_airflow.params import give_params
from vmkeep_airflow.proxies import BACKUP_PROXY
from vmkeep_airflow.undoables import DEFAULTS, make_end, undoable_params

PARAMS = undoable_params(
    unasked="Switch the VM off and drop what it has written since, without asking a person.",
    power_on=Param(
        False,
        type="boolean",
        title="Power on",
        description="Start the VM afterwards. Without it, the VM stays off.",
    ),
)

with DAG(
    dag_id="restore_undo",
    dag_display_name="Undo a restore",
    description="Put a VM back to the state before a restore",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "restore"],
    max_active_runs=64,
    default_args=DEFAULTS,
) as dag:
    # On a proxy, because a dead restore of the VM is ended first, and VDDK keeps Storage vMotion off the VM until then.
    make_end(dag, task_id="undo", undo=True, power_on=dag.param("power_on"), queue=BACKUP_PROXY)
    give_params(dag, PARAMS)
