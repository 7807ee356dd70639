"""
# Remove leftovers of dead runs

A worker that dies while it takes a snapshot, or while it makes a VM to restore into, cannot remove it again.
This DAG looks at a whole vCenter.
It removes the snapshots that vmkeep took, and the VMs that its restores half made, if no living run needs them.
Guests that a dead run has left frozen are thawed first, by the run's own post-thaw command.
Where a dead run still keeps Storage vMotion off a VM, the DAG lets the VM be moved again.
The proxy's array hook, if there is one, is called for the end of each dead run for which it was called before.

| | |
|---|---|
| **Started by** | its schedule, every 10 minutes; or *Trigger* |
| **If it fails** | vCenter or the repository did not answer, or something could not be removed: see the log |
| **Safe to re-run** | yes |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |
| **Until then** | its scheduled runs are skipped |
| **Switch it off** | by the switch beside its name; leftovers then stay until the VM's next backup |

## How it knows

Every snapshot carries the key of its run.
So does every VM that a restore makes or writes over, until that restore has finished:
in the advanced setting `vmkeep.run` or `vmkeep.restoring`.
The repository knows which DAG run that is, and Airflow knows whether it has ended.
If it has, and only then, `sweep` removes the snapshot or the VM.

A run that this Airflow does not know is left alone while it shows signs of life, and for a time after that.
A restore of the command line is over when its process is.
Anything that belongs to another repository is always left alone, so each repository needs a sweep of its own.

A backup and a restore keep Storage vMotion off their VM.
vCenter does not forget that when a run dies, so that nobody can move the VM any more.
The sweep ends this for VMs that no living run needs.
A VM that another program holds stays held.

Other snapshots and VMs are never touched.
A VM that was there before a restore is never removed.
If a dead restore was writing over it, it loses the mark, and stays off, partly written.
A half-made VM that somebody has switched on stays, too.
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
        description="Leftovers of a silent run that this Airflow does not know are removed at this age.",
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
    schedule="*/10 * * * *",
    catchup=False,
    is_paused_upon_creation=False,
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
