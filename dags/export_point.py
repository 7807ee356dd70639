"""
# Export a restore point

Writes the disks of a restore point as images of a format of your choice, into a folder of the proxy or to S3.
The VM is not asked, and nothing of it changes.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API; a policy with `exports` does it after each backup |
| **Result** | the images and a manifest, `NAME.export.json`; sizes and place in the run's note and XCom of `export` |
| **If it fails** | nothing of the export is left in the place; see the log of `export` |
| **Safe to re-run** | yes: a retry goes by what is complete; an export of another run is replaced only if told |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections), and room in the place |

## What the tasks do

| task | |
|---|---|
| `export` | writes the images on a proxy, reads them back, gives them their names, and the manifest last |
| `close_run` | fails the run unless `export` ended well and left its result |

The folder has to exist on every proxy of the queue, so it is best a share that all of them have.
Every block is compared with its digest before it is written.
docs/operations/exports.md says which format is for which use.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep.model.exports import ImageFormat
from vmkeep.model.overwrite import Verify
from vmkeep.model.portable import Drivers, Hypervisor
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.export_point import ExportPointOperator
from vmkeep_airflow.params import (
    PROXY,
    REPOSITORY,
    give_params,
    optional_lines,
    optional_lines_or_numbers,
    optional_text,
)
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "point": Param(
        type="string",
        minLength=1,
        title="Restore point",
        description="Its ref, the beginning of its id, or latest: with a VM's name, e.g. latest:app01.",
    ),
    "format": Param(
        ImageFormat.QCOW2.value,
        type="string",
        enum=[each.value for each in ImageFormat],
        title="Format",
        description="raw; qcow2 for QEMU; a kind of VMDK: flat, thin, 2gbsparse, stream; ovf or ova with the machine.",
    ),
    "out": Param(
        type="string",
        minLength=1,
        pattern="^(/|s3://[^/])",
        title="Place",
        description="Folder on the proxy, by its whole path, which has to exist; or s3://bucket/prefix.",
    ),
    "disks": optional_lines_or_numbers(
        title="Disks",
        description="One per line: a disk's address (scsi0:1), its label, or its number from 0. None: all of them.",
    ),
    "name": optional_text(title="Name", description="Name with which the files begin. Empty: the VM's name."),
    "overwrite": Param(
        False, type="boolean", title="Replace", description="Replace an export of the same name in that place."
    ),
    "verify": Param(
        Verify.SAMPLE.value,
        type="string",
        enum=[each.value for each in Verify],
        title="Read back",
        description="How much of the images is read back and compared with the point.",
    ),
    "to": Param(
        None,
        type=["null", "string"],
        enum=[None, *(each.value for each in Hypervisor)],
        title="For the hypervisor",
        description="Describe the machine for it, and list what does not come along. Takes the format qcow2 or raw.",
    ),
    "drivers": Param(
        None,
        type=["null", "string"],
        enum=[None, *(each.value for each in Drivers)],
        title="Drivers",
        description="Devices of the machine there: virtio, or safe ones. Empty: those that its guest surely knows.",
    ),
    "convert": Param(
        False,
        type="boolean",
        title="Convert",
        description="For libvirt: let virt-v2v, installed on the proxy, make the guest ready for virtio devices.",
    ),
    "networks": optional_lines(
        title="Networks",
        description="One per line, OLD=NEW: a network of the VM, and the network or the bridge to use there.",
    ),
    "proxy": PROXY,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="export_point",
    dag_display_name="Export a restore point",
    description="Writes the disks of a restore point as images, into a folder of the proxy or to S3",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "export"],
    max_active_runs=64,
    default_args={"owner": "vmkeep"},
) as dag:
    exported = ExportPointOperator(
        task_id="export",
        request={name: dag.param(name) for name in PARAMS if name not in {"proxy", "repository"}},
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        retries=2,
        retry_exponential_backoff=2.0,
        execution_timeout=timedelta(hours=48),
        repository_conn_id="{{ params.repository }}",
    )
    closed = CloseRunOperator(
        task_id="close_run", result_task_id="export", retries=0, execution_timeout=timedelta(minutes=30)
    ).as_teardown(on_failure_fail_dagrun=True)

    exported >> closed

    give_params(dag, PARAMS)
