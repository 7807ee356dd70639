"""
# Scan the new points of a policy for malware

Looks at the files in each VM's new restore point after its backup, by ClamAV and YARA, on a proxy.
There is one such DAG for each policy file with `verification.malware`.
An edit of the file counts from the next time that Airflow reads its DAG files, some 30 seconds later.

| | |
|---|---|
| **Started by** | each sealed and verified point of the policy; the end of each of its windows; or *Trigger* |
| **Events** | those of `vmkeep_policy_points/NAME` and `vmkeep_window_ends/NAME` |
| **Result** | a proof at each point: `vmkeep point show` and `vmkeep vm clean` tell it, a restore warns of a find |
| **If it fails** | malware was found, or a point not scanned, or not all of it; see the logs of `scan` and `choose` |
| **Safe to re-run** | yes |
| **Needs** | ClamAV or YARA rules on the proxies: their variables `VMKEEP_CLAMAV` and `VMKEEP_YARA` name them |

## What the tasks do

| task | |
|---|---|
| `choose` | finds the policy's points among those whose events have started the run; skips the rest if there are none |
| `scan` | scans the files of one point, and keeps the outcome with it |
| `tell` | tells people of finds, as the policy's `notifications` say |
| `close_run` | fails the run unless every point was scanned and nothing was found |

While a run is at work, events of further points wait, and one run scans all of them: of each VM the newest point.
A run that a person triggers scans the policy's newest point of each VM.
With `changed`, only files are scanned that differ from the VM's last clean point; without such a point all of them.
After 30 such scans on top of one another, all files are scanned again, because newer signatures know more.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.assets import restore_points_by, window_ends_of
from vmkeep_airflow.operators.choose_scans import ChooseScansOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.scan_point import ScanPointOperator
from vmkeep_airflow.operators.tell_failed_checks import TellFailedChecksOperator
from vmkeep_airflow.policies import SCANS, scanning_policies
from vmkeep_airflow.proxies import BACKUP_PROXY

for policy in scanning_policies():
    with DAG(
        dag_id=f"{SCANS}{policy.name}",
        dag_display_name=f"Scan the new points of {policy.name} for malware",
        description=f"Looks at the files in the restore points of the policy {policy.name} after their backups",
        doc_md=__doc__,
        schedule=restore_points_by(policy.name) | window_ends_of(policy.name),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["vmkeep", "malware"],
        max_active_runs=1,
        default_args={"owner": policy.owner, "retries": 2, "retry_exponential_backoff": 2.0},
    ) as dag:
        chosen = ChooseScansOperator(
            task_id="choose",
            policy=policy,
            repository_conn_id=policy.repository,
            execution_timeout=timedelta(minutes=30),
        )
        scanned = ScanPointOperator.partial(
            task_id="scan",
            map_index_template="{{ task.scan['vm'] }}",
            pool=BACKUP_PROXY,
            queue=BACKUP_PROXY,
            execution_timeout=timedelta(hours=48),
            rule=policy.verification.malware.value,
            repository_conn_id=policy.repository,
        ).expand(scan=chosen.output)
        told = TellFailedChecksOperator(
            task_id="tell",
            policy=policy.name,
            wish=policy.notifications,
            of="scan",
            trigger_rule="all_done",
            execution_timeout=timedelta(minutes=10),
        )
        closed = CloseRunOperator(
            task_id="close_run",
            result_task_id="choose",
            may_skip_after=("choose",),
            problems_of=("choose", "tell"),
            retries=0,
            execution_timeout=timedelta(minutes=30),
        ).as_teardown(on_failure_fail_dagrun=True)

        chosen >> scanned >> told >> closed
