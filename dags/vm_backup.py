"""
# Back up one VM

Takes a snapshot, copies every disk in parallel, seals a restore point, removes the snapshot, and reads a sample back.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, the REST API, or another DAG |
| **Result** | a restore point (XCom of `catalog`), an event of each asset: all points, the VM's, the policy's |
| **If it fails** | nothing is sealed and the snapshot is removed; trigger it again, or clear the whole run |
| **Safe to re-run** | yes: blocks are stored once, and every try takes its own snapshot |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

## What the tasks do

| task | |
|---|---|
| `preflight` | finds the VM, sorts its disks, picks mode and parent. If it can, it fails here, before any change |
| `snapshot` | keeps Storage vMotion off the VM and takes the snapshot, once pool and limits have room for its copies |
| `plan_disks` | asks vSphere what changed since the parent point; a disk that is read in full gets a reason |
| `copy_disk` | audits change tracking and copies one disk, in pool and on queue `backup_proxy`. A retry goes on |
| `catalog` | seals the restore point: from now on it can be restored |
| `remove_snapshot` | stops living copies, removes the snapshot, lets the VM be moved, whatever happened before |
| `verify` | reads blocks back and checks their digests |
| `close_run` | fails the run unless a point is sealed and every earlier task ended well and left its result |

Commands in the guest run inside `snapshot`: one right before the snapshot is taken, the other right after.
Once the first was begun, the second always runs.
If the task dies in between, its next try, `remove_snapshot`, `snapshot_sweep` or the VM's next backup runs it.

If the proxy's own configuration names an array hook, `snapshot` runs it after the snapshot is taken,
and `remove_snapshot` runs it again when no copy runs any more. No field of a run can name it.

## Limits

Pool `backup_proxy` (Admin > Pools) limits what a proxy does at once.
Over all proxies, the connections limit the open disks of a host, the snapshots and the free space of a datastore,
and the transfers of the repository.
A task that finds no room is *up for reschedule*: it holds no worker and no slot, uses no retry, and comes again.
Its log says what it waits for and who uses it; `vmkeep limit list` shows all of them.

## Clearing and marking tasks

No task from `plan_disks` to `catalog` can be cleared alone:
its snapshot is gone, and disks of two snapshots make no restore point.
Airflow clears `snapshot` with it, which says so and fails before it takes one.
A point that the run has sealed stays as it is.
Clear `snapshot` together with everything after it, or trigger a new run.

A task that is marked by hand as a success has left no result, so the run fails.
A task that is cleared without those after it turns the run red,
until `close_run` is cleared, too, and looks again.
The run's note says why.
A whole run that is marked, as failed or as a success, stops its copies, removes its snapshot, and then fails.
If such a run leaves a snapshot, `snapshot_sweep` removes it, or the VM's next backup.

If a vCenter does not answer, `preflight` asks it again for more than ten minutes.
The whole run has no time limit, because Airflow would skip the removal of the snapshot; each task has one.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep.model.guest import FreezeFailure
from vmkeep.model.point import BackupMode
from vmkeep.model.quiescing import OLDER_QUIESCE_CHOICES, QUIESCE_CHOICES
from vmkeep_airflow.limits import MANY, PATIENT
from vmkeep_airflow.operators.catalog import CatalogOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.copy_disk import CopyDiskOperator
from vmkeep_airflow.operators.plan_disks import PlanDisksOperator
from vmkeep_airflow.operators.preflight import PreflightOperator
from vmkeep_airflow.operators.remove_snapshot import RemoveSnapshotOperator
from vmkeep_airflow.operators.snapshot import SnapshotOperator
from vmkeep_airflow.operators.verify import VerifyOperator
from vmkeep_airflow.params import POLICY, PROXY, REPOSITORY, TRANSPORTS, VSPHERE, give_params, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "vm": Param(
        type="string",
        minLength=1,
        title="VM",
        description="Its name; or name:, uuid:, moref: or ipaddr: with a value, e.g. ipaddr:10.0.0.7.",
    ),
    "full": Param(
        False,
        type="boolean",
        title="Read everything",
        description="Read every disk in full, even where changed block tracking knows what changed.",
    ),
    "include": Param(
        [],
        type=["null", "array"],
        items={"type": "string"},
        title="Disks to copy",
        description="One rule per line; none: all. scsi0:1, Hard disk 2, 2001, label:Data*, datastore:fast*, >2TiB, "
        "<10GiB, or some with ' & ' between.",
    ),
    "exclude": Param(
        [],
        type=["null", "array"],
        items={"type": "string"},
        title="Disks to leave out",
        description="One rule per line, as above. A disk that both lists fit is left out.",
    ),
    "read_luns": Param(
        [],
        type=["null", "array"],
        items={"type": "string"},
        title="Physical RDMs to read",
        description="One rule per line, as above. The proxy reads their content from the LUNs, which it has to see. "
        "While the guest runs, only an array hook makes that content consistent.",
    ),
    "skipped_is_failure": Param(
        False,
        type="boolean",
        title="A skipped disk is a failure",
        description="Fail before anything is touched if a disk cannot be copied, unless it is left out above.",
    ),
    "mode": Param(
        BackupMode.SNAPSHOT_EXCL_MEM.value,
        type="string",
        enum=[mode.value for mode in BackupMode],
        title="Mode",
        description="What happens to a running VM. A mode that its disks do not allow is changed, with a warning.",
        section="Consistency",
    ),
    "quiesce": Param(
        QUIESCE_CHOICES[0],
        type="string",
        enum=[*QUIESCE_CHOICES, *OLDER_QUIESCE_CHOICES],
        title="Quiesce",
        description="Whether the guest writes out its data before the snapshot. If it cannot: 'required' fails the "
        "run, 'preferred' warns. vSphere does not say whether applications took part.",
        section="Consistency",
    ),
    "pre_freeze": optional_text(
        title="Command before the snapshot",
        description="One line that VMware Tools run in the guest, e.g. /opt/db/freeze. Everybody who sees the run sees "
        "it. It needs a command after the snapshot.",
        section="Commands in the guest",
    ),
    "post_thaw": optional_text(
        title="Command after the snapshot",
        description="Runs right after the snapshot, and whenever the command before it was begun; so it may run twice.",
        section="Commands in the guest",
    ),
    "guest": optional_text(
        title="Guest connection",
        description="Airflow connection of type VMware guest user, with the user and password for both commands.",
        section="Commands in the guest",
    ),
    "guest_seconds": Param(
        60,
        type="number",
        minimum=1,
        maximum=3600,
        title="Time limit (seconds)",
        description="A command that takes longer is terminated in the guest.",
        section="Commands in the guest",
    ),
    "freeze_failure": Param(
        FreezeFailure.FAIL.value,
        type="string",
        enum=[failure.value for failure in FreezeFailure],
        title="If the first command fails",
        description="The backup fails before the snapshot, or the restore point gets a warning.",
        section="Commands in the guest",
    ),
    "audit": Param(
        0.01,
        type="number",
        minimum=0,
        maximum=1,
        title="Share to audit",
        description="How much of the data that did not change is read and compared: 0 is nothing, 1 is everything.",
        section="Consistency",
    ),
    "verify": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Share to verify",
        description="How much of the new point's data is read back at once: 0 is nothing, 1 is everything.",
        section="Consistency",
    ),
    "policy": POLICY,
    "stop_at": optional_text(
        title="Stop at",
        description="Time in ISO 8601, e.g. 2026-11-27T06:00:00+00:00. If the copies still run then, the run cleans up "
        "and fails. A window whose policy stops its backups fills it in.",
        format="date-time",
        section="Where",
    ),
    "transports": TRANSPORTS,
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="vm_backup",
    dag_display_name="Back up a VM",
    description="Full or incremental backup of one VM into the repository",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "backup"],
    max_active_runs=64,
    max_active_tasks=MANY,
    default_args={
        "owner": "vmkeep",
        "retries": 2,
        "weight_rule": "upstream",
        "execution_timeout": timedelta(minutes=30),
    },
) as dag:
    site = {"vsphere_conn_id": "{{ params.vsphere }}", "repository_conn_id": "{{ params.repository }}"}

    preflight = PreflightOperator(
        task_id="preflight",
        queue=BACKUP_PROXY,  # it tries the VDDK that the copies will use
        vm=dag.param("vm"),
        mode=dag.param("mode"),
        quiesce=dag.param("quiesce"),
        transports=dag.param("transports"),
        include=dag.param("include"),
        exclude=dag.param("exclude"),
        read_luns=dag.param("read_luns"),
        skipped_is_failure=dag.param("skipped_is_failure"),
        full=dag.param("full"),
        guest={
            "freeze": dag.param("pre_freeze"),
            "thaw": dag.param("post_thaw"),
            "login": dag.param("guest"),
            "seconds": dag.param("guest_seconds"),
            "failure": dag.param("freeze_failure"),
        },
        audit=dag.param("audit"),
        policy=dag.param("policy"),
        stop_at=dag.param("stop_at"),
        **PATIENT,
        **site,
    )
    # In the pool of the copies, and after them by weight: as long as copies wait for a slot, no VM gets a snapshot.
    # On a proxy, because VDDK keeps Storage vMotion off the VM from before its snapshot until after it.
    snapshot = SnapshotOperator(
        task_id="snapshot",
        preflight=preflight.output,
        used_by=("plan_disks", "copy_disk", "catalog"),
        stop_at=dag.param("stop_at"),
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        execution_timeout=timedelta(hours=26),  # a dead run's large snapshot is removed first
        **site,
    ).as_setup()
    plan = PlanDisksOperator(
        task_id="plan_disks",
        held=snapshot.output,
        stop_at=dag.param("stop_at"),
        pool=BACKUP_PROXY,
        execution_timeout=timedelta(hours=3),  # vSphere may take minutes for the changes of one disk
        **site,
    )
    copies = CopyDiskOperator.partial(
        task_id="copy_disk",
        map_index_template="{{ task.job['disk']['label'] }}",
        stop_at="{{ params.stop_at or '' }}",
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        retries=3,
        retry_exponential_backoff=2.0,
        max_retry_delay=timedelta(minutes=15),
        execution_timeout=timedelta(hours=24),
        **site,
    ).expand(job=plan.output)
    sealed = CatalogOperator(task_id="catalog", held=snapshot.output, copies=copies.output, **site)
    removed = RemoveSnapshotOperator(
        task_id="remove_snapshot",
        held=snapshot.output,
        preflight_task_id="preflight",
        queue=BACKUP_PROXY,
        retries=5,
        execution_timeout=timedelta(hours=26),
        **site,
    ).as_teardown(setups=snapshot, on_failure_fail_dagrun=True)
    verified = VerifyOperator(
        task_id="verify",
        sealed=sealed.output,
        sample=dag.param("verify"),
        execution_timeout=timedelta(hours=12),
        **site,
    )
    closed = CloseRunOperator(
        task_id="close_run",
        result_task_id="catalog",
        announce=True,
        policy="{{ params.policy or '' }}",
        repository_conn_id="{{ params.repository }}",
        retries=0,
    ).as_teardown(on_failure_fail_dagrun=True)

    preflight >> snapshot >> plan >> copies >> sealed
    [copies, sealed] >> removed >> verified >> closed
    removed >> closed  # else, where `verify` is not to run, both would run at once

    give_params(dag, PARAMS)
