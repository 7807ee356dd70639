"""
# Remove leftovers of dead runs

A worker that dies cannot take back what it has done in vSphere.
This DAG looks at a whole vCenter, repairs what is surely vmkeep's, and reports the rest.

It resumes VMs that a dead run left suspended, and thaws guests by the run's own post-thaw command.
It detaches disks from this proxy, removes snapshots, and removes the VMs that restores half made.
It lets VMs be moved again that a dead run kept from Storage vMotion, and consolidates disks.
The proxy's array hook, if there is one, is called for the end of each dead run for which it was called before.
Old snapshots of somebody else are reported, and never removed.

| | |
|---|---|
| **Started by** | its schedule, every 10 minutes; or *Trigger* |
| **Looks at** | the vCenter and repository of the form; by schedule, also those of each policy |
| **If it fails** | vCenter or the repository did not answer, or something could not be removed: see the log |
| **Result** | the findings: their numbers by kind and state, and those that are not in use (XCom of `sweep`) |
| **Safe to re-run** | yes |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |
| **Until then** | its scheduled runs are skipped |
| **Switch it off** | by the switch beside its name; leftovers then stay until the VM's next backup |

## How it knows

Every snapshot carries the key of its run.
So does every VM that a restore makes or writes over, until that restore has finished:
in the advanced setting `vmkeep.run` or `vmkeep.restoring`.
The repository knows which DAG run that is, and Airflow knows whether it has ended.
If it has, `sweep` removes the snapshot or the VM.
A snapshot that is old and that no copy reads goes in any case, because its run may wait for a proxy for ever.

A run that this Airflow does not know is left alone while it shows signs of life, and for a time after that.
A run of the command line is over when its process is.
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
from vmkeep_airflow.params import PROXY, REPOSITORY, VSPHERE, give_params
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "given_up_after_hours": Param(
        48,
        type="number",
        minimum=1,
        title="Give up after (hours)",
        description="Leftovers of a silent run that this Airflow does not know are removed at this age.",
    ),
    "foreign_after_days": Param(
        3,
        type="number",
        minimum=0,
        title="Report snapshots of others after (days)",
        description="Snapshots that vmkeep has not taken are reported from this age on. They are never removed.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Only find and report: change nothing.",
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
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "execution_timeout": timedelta(hours=1)},
) as dag:
    SweepSnapshotsOperator(
        task_id="sweep",
        queue=BACKUP_PROXY,  # only VDDK can let a VM be moved again
        given_up_after_hours=dag.param("given_up_after_hours"),
        foreign_after_days=dag.param("foreign_after_days"),
        only_find=dag.param("dry_run"),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
    )

    give_params(dag, PARAMS)
