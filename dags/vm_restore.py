"""
# Restore one VM

Writes a restore point over an existing VM, or to a new VM that it creates.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API |
| **Result** | the restored VM (XCom of `finish`) |
| **If it fails** | a half-made new VM is removed; an existing VM stays off, partly written, and its notes say so |
| **Safe to re-run** | yes: a run that is cleared as a whole plans anew, and asks anew |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

Leave *Target VM* and *New VM name* empty to restore over the VM that was backed up.
Nothing that exists is written over,
unless *If the target exists* says `overwrite`, or says `prompt` and a person approves (Required Actions in this UI).
Both need the right to edit the connection of the repository.

## What the tasks do

| task | |
|---|---|
| `plan` | finds point and target, matches their disks, and refuses what does not fit, before any change |
| `approve` | shows the VM and the whole plan and asks a person, where that is asked for; silence for 24 hours is a no |
| `prepare_target` | creates the VM, or switches the existing one off. Setup of `clean_up` |
| `plan_writes` | makes a job for each disk |
| `write_disk` | writes one disk, in pool `backup_proxy` and on queue `backup_proxy` |
| `finish` | puts the NVRAM back and releases the VM; switches it on as asked, or as it was; makes a template of one |
| `clean_up` | stops living writes, and removes or keeps a new VM that was not finished, as asked |
| `close_run` | fails the run unless every earlier task ended well and left its result |

## The run does what was shown

The plan names the VM by id, UUIDs and vCenter, each of its disks, and the place of a new VM.
Every later task compares first.
If the VM was renamed or changed, a disk was replaced or a folder renamed,
the task stops with one line that names the difference, and touches nothing.
A yes is to one plan, and a plan is carried out once.

From `prepare_target` to `finish` the VM carries the run's mark:
the advanced setting `vmkeep.run` of a new VM, or `vmkeep.restoring` of an existing one.
No task writes to a VM without it.
Meanwhile a second restore of the VM is refused, and so is a backup.
Over an existing VM only blocks that changed are written, where vSphere can tell them.
It is asked in a snapshot that `prepare_target` takes and removes while the VM is off.

## Clearing and marking tasks

| | |
|---|---|
| **Clear the whole run** | it restores again, with a new plan, and with a new question where one is asked |
| **Clear tasks while the run goes on** | they run again on the VM that is ready, or fail once `finish` has run |
| **Clear tasks after its end** | no VM is touched: `prepare_target` fails, as its plan is used up; the run turns red |
| **Clear failed tasks, with `keep`** | the restore goes on: of each disk the rest is written |
| **Mark a task as success** | the run turns red, because the task left no result |
| **Mark the run as success** | it turns red if a task lacks its result; `snapshot_sweep` removes a half-made VM |
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep.flows.restore_request import MacAddresses, OnConflict, OnFailure
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.rdm import RDM_WORDS, RdmReplacement
from vmkeep.model.scanning import ScanFirst
from vmkeep_airflow.limits import ASKED_AGAIN, MANY, PATIENT
from vmkeep_airflow.operators.approve_restore import ApproveRestoreOperator
from vmkeep_airflow.operators.clean_up_restore import CleanUpRestoreOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.finish_restore import FinishRestoreOperator
from vmkeep_airflow.operators.plan_restore import PlanRestoreOperator
from vmkeep_airflow.operators.plan_writes import PlanWritesOperator
from vmkeep_airflow.operators.prepare_target import PrepareTargetOperator
from vmkeep_airflow.operators.write_disk import WriteDiskOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, TRANSPORTS, VSPHERE, give_params, optional_lines, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "point": Param(
        type="string",
        minLength=1,
        title="Restore point",
        description="Its ref, the beginning of its id, or latest: with a VM's name, e.g. latest:app01.",
    ),
    "vm": optional_text(
        title="Target VM",
        description="The VM to write over: a name, or uuid:, moref:, ipaddr: and a value. Empty: only the original.",
    ),
    "new_name": optional_text(title="New VM name", description="Create a VM of this name and restore into it instead."),
    "on_conflict": Param(
        OnConflict.ABORT.value,
        type="string",
        enum=[choice.value for choice in OnConflict],
        title="If the target exists",
        description="abort fails, overwrite writes over its disks, keep leaves it alone, prompt asks a person.",
    ),
    "disks": optional_lines(
        title="Disks",
        description="One per line: the only disks to write, by address (scsi0:1), label or device key. The others stay "
        "as they are. Empty: all.",
        section="Existing VM",
    ),
    "disk_map": optional_lines(
        title="Disk map",
        description="One per line, SAVED=TARGET: a disk of the point, and the disk of the VM to write over. Both have "
        "to be of one size. Other disks are matched by place and UUID.",
        section="Existing VM",
    ),
    "power_on": Param(
        None,
        type=["null", "boolean"],
        title="Power on",
        description="Whether the VM starts once its disks are written. Untouched: only if it ran when it was backed "
        "up. A template never starts.",
    ),
    "all_blocks": Param(
        False,
        type="boolean",
        title="Write all blocks",
        description="Write every block over an existing VM. Otherwise only blocks that changed since the point are "
        "written, where vSphere can tell them and a sample of the others shows no doubt.",
        section="Existing VM",
    ),
    "verify": Param(
        Verify.SAMPLE.value,
        type="string",
        enum=[choice.value for choice in Verify],
        title="Compare afterwards",
        description="Part of each written disk that is read back. If anything differs, the run fails and the VM stays "
        "off.",
    ),
    "scan": Param(
        ScanFirst.NO.value,
        type="string",
        enum=[choice.value for choice in ScanFirst],
        title="Scan for malware first",
        description="refuse and warn scan all files of the point on the proxy, before anything else: refuse restores "
        "nothing if malware is found or a part cannot be scanned, warn goes on and says it in the plan.",
    ),
    "on_failure": Param(
        OnFailure.REMOVE.value,
        type="string",
        enum=[choice.value for choice in OnFailure],
        title="If the restore fails",
        description="remove removes a new VM, and leaves an existing one off with a warning in its notes; keep keeps "
        "the VM off as it is, so that the restore goes on when its failed tasks are cleared.",
    ),
    "undo": Param(
        Undo.NONE.value,
        type="string",
        enum=[choice.value for choice in Undo],
        title="Way back",
        description="snapshot keeps a snapshot of an existing VM as it was, until 'Undo a restore' goes back to it or "
        "'Accept a restore' removes it. Every backup reads all until then.",
        section="Existing VM",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Only plan",
        description="Make the plan, show it in the log of task plan, and change nothing.",
    ),
    "mapping": optional_text(
        title="Mapping",
        description="YAML of a mapping, as 'vmkeep point show POINT --mapping' writes it. It names the new VM and says "
        "where each part of it goes. The other fields have to agree with it.",
        format="multiline",
        section="New VM",
    ),
    "physical_rdm": Param(
        RdmReplacement.PLACEHOLDER.value,
        type="string",
        enum=list(RDM_WORDS),
        title="Physical-mode RDMs",
        description="Replaces a raw device in a new VM: placeholder, a small empty disk; lun, a LUN that is named "
        "below; auto, a free LUN that is found; disk, an ordinary disk with the content that was read from the LUN; or "
        "omit. Behind the colon stands the mode of the new RDM, or the format of the disk.",
        section="New VM",
    ),
    "rdms": optional_lines(
        title="Single RDMs",
        description="One per line, DISK=REPLACEMENT: a physical or virtual RDM by its address (scsi1:0), and a word of "
        "the field above. This counts whatever the field above says.",
        section="New VM",
    ),
    "luns": optional_lines(
        title="LUNs",
        description="One per line, DISK=LUN: an RDM by its address (scsi1:0), and a free LUN to map it to. The content "
        "of an RDM in virtual mode is written over the LUN only if the target may be overwritten, or a person says so.",
        section="New VM",
    ),
    "keep_identity": Param(
        False,
        type="boolean",
        title="Keep identity",
        description="Keep the original's UUIDs, and its MAC addresses where they are free. With its own, a new VM can "
        "run beside the original.",
        section="New VM",
    ),
    "mac_addresses": Param(
        None,
        type=["null", "string"],
        enum=[None, *(choice.value for choice in MacAddresses)],
        title="MAC addresses",
        description="keep keeps each address that no other VM on its network has, new gives new ones. Empty: kept with "
        "the identity.",
        section="New VM",
    ),
    "hardware_version": optional_text(
        title="Hardware version",
        description="Lower the VM to this version, e.g. vmx-19, for an older host. Empty: its own.",
        section="New VM",
    ),
    "datastore": optional_text(
        title="Datastore", description="By name, path or id. Empty: where the disks were.", section="New VM"
    ),
    "disk_datastores": optional_lines(
        title="Datastores of single disks",
        description="One per line, DISK=DATASTORE: the disk by its address (scsi0:1), label or device key, and the "
        "datastore by name, path or id.",
        section="New VM",
    ),
    "networks": optional_lines(
        title="Networks",
        description="One per line, OLD=NEW: a saved network's name or id, or a card's label; and the network to use, "
        "by name, path or id, or none.",
        section="New VM",
    ),
    "connect_networks": Param(
        False,
        type="boolean",
        title="Connect beside a running original",
        description="Without it, the network cards start disconnected while the VM that was backed up runs.",
        section="New VM",
    ),
    "folder": optional_text(
        title="VM folder", description="By name, path or id. Empty: where the VM was.", section="New VM"
    ),
    "resource_pool": optional_text(
        title="Resource pool", description="By name, path or id. Empty: where the VM was.", section="New VM"
    ),
    "host": optional_text(
        title="Host",
        description="By name, path or id. Empty: vSphere chooses where DRS is used; elsewhere vmkeep takes one that "
        "has all the VM needs.",
        section="New VM",
    ),
    "log_directory": optional_text(
        title="Log directory",
        description="Existing folder for the VM's logs, [datastore] folder. Empty: beside the VM's own files.",
        section="New VM",
    ),
    "snapshot_directory": optional_text(
        title="Snapshot directory",
        description="Existing folder for the VM's snapshots. Empty: beside the VM's own files.",
        section="New VM",
    ),
    "suspend_directory": optional_text(
        title="Suspend directory",
        description="Existing folder for its memory while it is suspended. Empty: beside the VM's own files.",
        section="New VM",
    ),
    "as_shown": optional_text(
        title="Plan that was shown",
        description="The restore wizard fills it in: the digest of the plan that somebody has seen. If the plan is "
        "another one by now, the run fails before any change.",
        section="Where",
    ),
    "transports": TRANSPORTS,
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

_NOT_ASKED = {"proxy", "vsphere", "repository", "as_shown"}
"""Params that are no fields of a request."""

with DAG(
    dag_id="vm_restore",
    dag_display_name="Restore a VM",
    description="Restore a VM from a restore point, over an existing VM or to a new one",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "restore"],
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

    plan = PlanRestoreOperator(
        task_id="plan",
        queue=BACKUP_PROXY,  # it tries the VDDK that the disks will be written by
        request={name: dag.param(name) for name in PARAMS if name not in _NOT_ASKED},
        as_shown=dag.param("as_shown"),
        execution_timeout=timedelta(hours=24),  # for the scan that may be asked for
        **PATIENT,
        **site,
    )
    approved = ApproveRestoreOperator(
        task_id="approve",
        plan=plan.output,
        on_conflict=dag.param("on_conflict"),
        response_timeout=timedelta(hours=24),
        **ASKED_AGAIN,
        **site,
    )
    # On a proxy, like the tasks that end a restore: VDDK keeps Storage vMotion off the VM until then.
    target = PrepareTargetOperator(
        task_id="prepare_target", plan=plan.output, approval=approved.output, queue=BACKUP_PROXY, **site
    ).as_setup()
    jobs = PlanWritesOperator(task_id="plan_writes", ready=target.output, **site)
    writes = WriteDiskOperator.partial(
        task_id="write_disk",
        map_index_template="{{ task.job['label'] or task.job['target_file'] }}",
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        retries=3,
        retry_exponential_backoff=2.0,
        max_retry_delay=timedelta(minutes=15),
        execution_timeout=timedelta(hours=24),
        **site,
    ).expand(job=jobs.output)
    finished = FinishRestoreOperator(
        task_id="finish", ready=target.output, writes=writes.output, queue=BACKUP_PROXY, **site
    )
    cleaned = CleanUpRestoreOperator(
        task_id="clean_up", ready=target.output, queue=BACKUP_PROXY, retries=5, **site
    ).as_teardown(setups=target, on_failure_fail_dagrun=True)
    closed = CloseRunOperator(
        task_id="close_run", result_task_id="finish", may_skip_after=("plan", "approve"), retries=0
    ).as_teardown(on_failure_fail_dagrun=True)

    plan >> approved >> target >> jobs >> writes >> finished
    [writes, finished] >> cleaned >> closed

    give_params(dag, PARAMS)
