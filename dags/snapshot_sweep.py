"""
# Remove leftovers of dead runs

A worker that dies while it takes a snapshot, or while it makes a VM to restore into, cannot remove it again. On a whole
vCenter, this finds the snapshots that vmkeep took and the VMs that its restores half made, and removes those that no
living run needs. VMs that dead runs keep from being moved by Storage vMotion are let go.

| | |
|---|---|
| **Started by** | its schedule, every 30 minutes, once it is switched on; or *Trigger* |
| **If it fails** | vCenter or the repository did not answer, or something could not be removed: see the log |
| **Safe to re-run** | yes |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

## How it knows

Every snapshot carries the key of its run; so does every VM that a restore makes or writes over, as the advanced setting
`vmkeep.run` or `vmkeep.restoring`, until that restore has finished. The repository knows which DAG run that is, and
Airflow whether it has ended: then, and only then, `sweep` removes the snapshot or the VM. What belongs to a run that
this Airflow does not know is left alone as long as that run shows signs of life, and for a time after that; a restore
of the command line is over when its process is. What belongs to another repository is left alone for good: each
repository needs a sweep of its own.

A backup and a restore keep Storage vMotion off their VM. vCenter remembers that after a dead run, too, so that the VM
cannot be moved any more: VMs that no living run needs are let go. What another program holds stays held.

Other snapshots and VMs are never touched. A VM that was there before is never removed: one that a dead restore was
writing over loses the mark, and stays off, partly written. A half-made VM that somebody has switched on stays, too.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, VSPHERE
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "given_up_after_hours": Param(
        48,
        type="number",
        minimum=1,
        title="Give up after (hours)",
        description="Age at which what a silent run left is removed, if this Airflow does not know the run.",
    ),
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="snapshot_sweep",
    dag_display_name="Remove leftovers of dead runs",
    description="Removes snapshots and half-made VMs of vmkeep that no living run needs",
    doc_md=__doc__,
    schedule="*/30 * * * *",
    catchup=False,
    is_paused_upon_creation=True,
    params=PARAMS,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "execution_timeout": timedelta(hours=5)},
) as dag:
    SweepSnapshotsOperator(
        task_id="sweep",
        queue=BACKUP_PROXY,  # only VDDK can let a VM be moved again
        given_up_after_hours=dag.param("given_up_after_hours"),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
    )
