"""
# Look for missed backups

Names each VM whose newest good restore point is older than the `max_age` of its policy.
It does not matter why: a window that failed, one that never opened, or one whose DAG is switched off.

| | |
|---|---|
| **Started by** | its schedule, every day at 09:00, from the start; or *Trigger* |
| **Result** | overdue VMs by policy (XCom of `find`), hosts by vCenter (`find_hosts`), unproved VMs (`find_unproved`) |
| **If it fails** | VMs or hosts are overdue, a policy has faults, or a vCenter or repository is no good: see the log |
| **Safe to re-run** | yes: it changes nothing, and tells people again |
| **Needs** | the connections that the policies name |

## What the tasks do

`find` applies the selection of each policy that has a `max_age` to its vCenter as it is now,
and looks for each VM's newest good point in the policy's repository.
It tells people as the policy's notifications say: by mail, and by an event of `vmkeep_windows`.
A policy that cannot be asked about hides no other one.
It is green also if VMs are overdue, because Airflow drops the events of a task that fails: `report` is red then.

`find_hosts` names each ESXi host whose newest good bundle is older than 48 hours,
and each that has none although other hosts of its vCenter have some.
It looks where `host_config_backup` looks by schedule, and at the vCenter and repository of each policy.

`find_unproved` names each VM of a recovery plan that no drill has proved restorable for longer than the plan's
`proved_within`, and each that was never proved. It asks the plan's repository alone.
It does the same for the VMs of each policy whose `verification` has a `proved_within`: boot tests count there, too,
and what else the policy says.

`examine_places` asks each vCenter and repository of the policies, by the checks of `vmkeep doctor`.
A fault is an alarm, and so is a certificate that ends within 30 days, or a repository that is nearly full.

`report` shows all of them in one table, and fails if one of them found something.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.operators.examine_places import ExaminePlacesOperator
from vmkeep_airflow.operators.find_overdue import FindOverdueOperator
from vmkeep_airflow.operators.find_overdue_hosts import FindOverdueHostsOperator
from vmkeep_airflow.operators.find_unproved import FindUnprovedOperator
from vmkeep_airflow.operators.report import ReportOperator

with DAG(
    dag_id="missed_backups",
    dag_display_name="Look for missed backups",
    description="Names each VM whose newest good restore point is older than its policy allows",
    doc_md=__doc__,
    schedule="0 9 * * *",
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "backup"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 0, "execution_timeout": timedelta(hours=1)},
) as dag:
    found = FindOverdueOperator(task_id="find")
    found_hosts = FindOverdueHostsOperator(task_id="find_hosts")
    found_unproved = FindUnprovedOperator(task_id="find_unproved")
    examined = ExaminePlacesOperator(task_id="examine_places")
    report = ReportOperator(
        task_id="report",
        results_of=["find", "find_hosts", "find_unproved", "examine_places"],
        problems_of=["find"],
        trigger_rule="all_done",
    )

    [found, found_hosts, found_unproved, examined] >> report
