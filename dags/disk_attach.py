"""
# Attach disks of a restore point to a VM

Single disks of a restore point become *new* disks of an existing VM, which may be running.
Nothing else of that VM changes.
To write a disk over the same disk of a VM, use *Restore a VM* with its field *Disks*.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API |
| **Result** | the new disks with their addresses and files (XCom of `attach`) |
| **If it fails** | the VM has none of the disks, or all if the log says so; `snapshot_sweep` removes the rest |
| **Safe to re-run** | only if the VM has none of the disks: each run attaches new ones |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

## What the task does

| task | |
|---|---|
| `attach` | makes the new disks on a VM of its own that is off, writes and reads them back there, then attaches them |
| `close_run` | fails the run unless `attach` ended well and left its result |

VDDK writes no disk that a running VM has open, and no VM may be able to start with a half-written disk.
So the VM gets the disks in one change of its configuration, when all of them are whole, or not at all.
The VM on which they were written is then removed.

A running VM takes new disks on SCSI controllers only.
A controller is added where all are full.
A raw device mapping cannot be attached as one; content that was read from its LUN comes as an ordinary disk.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.attach_disks import AttachDisksOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, TRANSPORTS, VSPHERE, give_params, optional_lines, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "point": Param(
        type="string",
        minLength=1,
        title="Restore point",
        description="Its ref, the beginning of its id, or latest: with a VM's name, e.g. latest:app01.",
    ),
    "disks": Param(
        type="array",
        items={"type": "string", "minLength": 1},
        minItems=1,
        title="Disks",
        description="One per line: disks of the point, by address (scsi0:1), label or device key.",
    ),
    "vm": Param(
        type="string",
        minLength=1,
        title="VM",
        description="The VM that gets the disks: a name, or uuid:, moref:, ipaddr: and a value. It may be running.",
    ),
    "at": optional_lines(
        title="Addresses",
        description="One per line, DISK=ADDRESS, or the address alone for a single disk, e.g. scsi0:3. Other disks get "
        "a free unit of a fitting controller.",
    ),
    "datastore": optional_text(
        title="Datastore", description="By name, path or id. Empty: that of the VM's own files."
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Only plan",
        description="Make the plan, show it in the log, and change nothing.",
    ),
    "transports": TRANSPORTS,
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="disk_attach",
    dag_display_name="Attach disks of a restore point to a VM",
    description="Attach single disks of a restore point to an existing VM as new disks",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "restore"],
    max_active_runs=64,
    default_args={"owner": "vmkeep"},
) as dag:
    attached = AttachDisksOperator(
        task_id="attach",
        request={name: dag.param(name) for name in PARAMS if name not in {"proxy", "vsphere", "repository"}},
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        retries=0,  # because a second try might attach the disks once more
        execution_timeout=timedelta(hours=48),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
    )
    closed = CloseRunOperator(
        task_id="close_run",
        result_task_id="attach",
        may_skip_after=("attach",),
        retries=0,
        execution_timeout=timedelta(minutes=30),
    ).as_teardown(on_failure_fail_dagrun=True)

    attached >> closed

    give_params(dag, PARAMS)
