"""
# Export the new points of a policy

Writes the disks of each VM of a policy as files after its backup, into the places that the policy names.
There is one such DAG for each policy file that has `exports`.
An edit of the file counts from the next time that Airflow reads its DAG files, some 30 seconds later.

| | |
|---|---|
| **Started by** | each sealed and verified point of the policy; the end of each of its windows; or *Trigger* |
| **Events** | those of `vmkeep_policy_points/NAME` and `vmkeep_window_ends/NAME` |
| **Result** | one export for each VM and each place, which replaces the VM's last one there |
| **If it fails** | the last export is still there (on S3 not always); the log of the task `export` says why |
| **Safe to re-run** | yes: a retry keeps an export that is complete already, a run that is cleared writes it anew |
| **Needs** | the connections that the policy names, and room for two exports of a VM in each place |

## What the tasks do

| task | |
|---|---|
| `choose` | finds the policy's points among those whose events have started the run; skips the rest if there are none |
| `export` | writes the images of one point on a proxy, reads them back, gives them their names, and the manifest last |
| `close_run` | fails the run unless every export ended well |

While a run is at work, events of further points wait, and one run exports all of them: of each VM the newest point.
A run that a person triggers exports the policy's newest point of each VM.
A point that is marked damaged or suspect is not exported, because its export would replace a good one.

The files begin with the VM's name and the beginning of its key, e.g. `app01-5029ab12`,
so that two VMs of one name keep apart.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.assets import restore_points_by, window_ends_of
from vmkeep_airflow.operators.choose_exports import ChooseExportsOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.export_point import ExportPointOperator
from vmkeep_airflow.policies import EXPORTS, exporting_policies
from vmkeep_airflow.proxies import BACKUP_PROXY

for policy in exporting_policies():
    with DAG(
        dag_id=f"{EXPORTS}{policy.name}",
        dag_display_name=f"Export the new points of {policy.name}",
        description=f"Writes the disks of the VMs of the policy {policy.name} as files after their backups",
        doc_md=__doc__,
        schedule=restore_points_by(policy.name) | window_ends_of(policy.name),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["vmkeep", "export"],
        max_active_runs=1,
        default_args={"owner": policy.owner, "retries": 2, "retry_exponential_backoff": 2.0},
    ) as dag:
        chosen = ChooseExportsOperator(task_id="choose", policy=policy, execution_timeout=timedelta(minutes=30))
        exported = ExportPointOperator.partial(
            task_id="export",
            map_index_template="{{ task.request['name'] }}",
            pool=BACKUP_PROXY,
            queue=BACKUP_PROXY,
            execution_timeout=timedelta(hours=48),
            repository_conn_id=policy.repository,
        ).expand(request=chosen.output)
        closed = CloseRunOperator(
            task_id="close_run",
            result_task_id="choose",
            may_skip_after=("choose",),
            retries=0,
            execution_timeout=timedelta(minutes=30),
        ).as_teardown(on_failure_fail_dagrun=True)

        chosen >> exported >> closed
