"""
# Check the new points of a policy

Looks at the new restore point of each VM of a policy after its backup, as the policy's `verification` says:
file systems, every block, a boot.
There is one such DAG for each policy file that asks for one of these.
An edit of the file counts from the next time that Airflow reads its DAG files, some 30 seconds later.

| | |
|---|---|
| **Started by** | each sealed and verified point of the policy; the end of each of its windows; or *Trigger* |
| **Events** | those of `vmkeep_policy_points/NAME` and `vmkeep_window_ends/NAME` |
| **Result** | a proof for each check, kept with the point: `vmkeep point show`, `vmkeep vm proved` |
| **If it fails** | a point did not pass, or could not be checked; the task `verify` of its VM says why |
| **Safe to re-run** | yes: a retry does only checks that are not done yet; a cleared run does all of them anew |
| **Needs** | the connections that the policy names; QEMU on the proxies for boots |

## What the tasks do

| task | |
|---|---|
| `choose` | finds the policy's points among those whose events have started the run, and the checks that are due |
| `verify` | checks one point on a proxy, and keeps the outcome of each check with it |
| `tell` | tells people of points that did not pass, as the policy's `notifications` say |
| `close_run` | fails the run unless every point passed or was undecided |

While a run is at work, events of further points wait, and one run checks all of them: of each VM the newest point.
A run that a person triggers checks the newest point of each VM of the policy, whatever its turn.

An undecided check fails nothing, because nothing is known to be wrong; the policy's `proved_within` alarms if it stays
so.
docs/operations/proofs.md tells what each check proves.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.assets import restore_points_by, window_ends_of
from vmkeep_airflow.operators.choose_checks import ChooseChecksOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.tell_failed_checks import TellFailedChecksOperator
from vmkeep_airflow.operators.verify_point import VerifyPointOperator
from vmkeep_airflow.policies import CHECKS, checking_policies
from vmkeep_airflow.proxies import BACKUP_PROXY

for policy in checking_policies():
    with DAG(
        dag_id=f"{CHECKS}{policy.name}",
        dag_display_name=f"Check the new points of {policy.name}",
        description=f"Checks the restore points of the policy {policy.name} after their backups",
        doc_md=__doc__,
        schedule=restore_points_by(policy.name) | window_ends_of(policy.name),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["vmkeep", "proof"],
        max_active_runs=1,
        default_args={"owner": policy.owner, "retries": 2, "retry_exponential_backoff": 2.0},
    ) as dag:
        chosen = ChooseChecksOperator(task_id="choose", policy=policy, execution_timeout=timedelta(minutes=30))
        verified = VerifyPointOperator.partial(
            task_id="verify",
            map_index_template="{{ task.job['name'] }}",
            pool=BACKUP_PROXY,
            queue=BACKUP_PROXY,
            execution_timeout=timedelta(hours=48),
            repository_conn_id=policy.repository,
        ).expand(job=chosen.output)
        told = TellFailedChecksOperator(
            task_id="tell",
            policy=policy.name,
            wish=policy.notifications,
            of="verify",
            trigger_rule="all_done",
            execution_timeout=timedelta(minutes=10),
        )
        closed = CloseRunOperator(
            task_id="close_run",
            result_task_id="choose",
            may_skip_after=("choose",),
            problems_of=("tell",),
            retries=0,
            execution_timeout=timedelta(minutes=30),
        ).as_teardown(on_failure_fail_dagrun=True)

        chosen >> verified >> told >> closed
