"""
# Back up the VMs of a policy

Starts a backup of each VM that a policy selects, while the policy's window is open.
There is one such DAG for each policy file.
An edit of the file counts from the next time that Airflow reads its DAG files, some 30 seconds later.

| | |
|---|---|
| **Started by** | the opening of the window, once the DAG is switched on; or *Trigger*, at any time |
| **Result** | the names of VMs by how their backups ended (XCom of `report`) |
| **If it fails** | VMs of the policy have no new restore point: `report` names them, and their runs say why |
| **Safe to re-run** | yes: a cleared run starts the backups that failed again, and those that did not start |
| **Needs** | the connections that the policy names, and `vm_backup` switched on |

## What the tasks do

| task | |
|---|---|
| `plan` | applies the selection to the vCenter as it is now; the VM with the oldest good restore point comes first |
| `start_backups` | starts a run of `vm_backup` for each VM, as many at a time as the policy allows; waits for them |
| `copies` | brings the policy's points to its second repositories, until the next window opens; only if it has some |
| `notify` | tells people how the window ended, if the policy wants that: by mail, and by an event of `vmkeep_windows` |
| `report` | names the VMs: done, failed, stopped, not started, left out, new, gone, of no policy; may fail the run |

A run of `vm_backup` is called after policy, window and VM, e.g. `nightly__20261126T210000Z__web01__vm-12`.
None starts once the window has closed; those that run then finish, or are stopped, as the policy says.
If some still run a day later, or when the next window opens, this window reports them as running, and ends.

A backup that failed for a cause that a fresh start can heal, such as a VM that was switched on meanwhile,
is started once more, after the others; `report` says so.

After an outage, the last window that was missed is caught up at once:
its backups are spread over the window's usual length, and stop starting when the next window opens.
Earlier windows that were missed end without a backup.

If a policy file has faults, its DAG is marked by the tag `faults`, and opens no window until the file is mended.
A window that is open already goes on: the backups that run end, and `report` names them.
Airflow lists the faults, with file, line and column, as an import error of `policy_faults.py`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.operators.copy_points import make_copies
from vmkeep_airflow.operators.faulty_policy import FaultyPolicyOperator
from vmkeep_airflow.operators.notify_window import NotifyWindowOperator
from vmkeep_airflow.operators.plan_window import PlanWindowOperator
from vmkeep_airflow.operators.report_window import ReportWindowOperator
from vmkeep_airflow.operators.start_backups import StartBackupsOperator
from vmkeep_airflow.policies import PREFIX, TELL_ALWAYS, faulty_page, faulty_windows, page_of, window_policies
from vmkeep_airflow.timetables import WindowTimetable

for policy in window_policies():
    with DAG(
        dag_id=f"{PREFIX}{policy.name}",
        dag_display_name=f"Back up the VMs of {policy.name}",
        description=policy.description or f"Backs up the VMs of the policy {policy.name} in its window",
        doc_md=page_of(policy, __doc__),
        schedule=WindowTimetable(policy.window),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["vmkeep", "backup", "window"],
        max_active_runs=1,
        default_args={"owner": policy.owner, "retries": 3, "execution_timeout": timedelta(hours=1)},
    ) as dag:
        plan = PlanWindowOperator(task_id="plan", policy=policy)
        started = StartBackupsOperator(
            task_id="start_backups",
            policy=policy,
            plan=plan.output,
            retries=20,  # a try goes on where the last one stopped, and a window outlives many outages
            execution_timeout=timedelta(hours=60),  # a window lasts a day or a little more, and waits for another day
        )
        copied = make_copies(policy, plan.output)
        notified = NotifyWindowOperator(
            task_id="notify",
            policy=policy.name,
            wish=policy.notifications,
            plan=plan.output,
            started=started.output,
            copies=policy.copies,
            trigger_rule="all_done",
        )
        report = ReportWindowOperator(
            task_id="report",
            plan=plan.output,
            started=started.output,
            notified=notified.output,
            copies=policy.copies,
            trigger_rule="all_done",
            retries=0,
        )
        plan >> started >> notified >> report
        started >> copied >> notified

# The same tasks without a policy, so that a window that was open before its file was broken comes to its end.
for name, faults in faulty_windows():
    with DAG(
        dag_id=f"{PREFIX}{name}",
        dag_display_name=f"Back up the VMs of {name}: its policy has faults",
        description="Opens no window until the policy file is mended",
        doc_md=faulty_page(faults),
        schedule=None,
        is_paused_upon_creation=True,
        tags=["vmkeep", "backup", "window", "faults"],
        max_active_runs=1,
        default_args={"owner": "vmkeep", "retries": 3},
    ) as dag:
        unplanned = FaultyPolicyOperator(task_id="plan", faults=faults)
        unstarted = FaultyPolicyOperator(task_id="start_backups", faults=faults, retries=20)
        notified = NotifyWindowOperator(
            task_id="notify",
            policy=name,
            wish=TELL_ALWAYS,
            plan=unplanned.output,
            started=unstarted.output,
            trigger_rule="all_done",
        )
        report = ReportWindowOperator(
            task_id="report",
            plan=unplanned.output,
            started=unstarted.output,
            notified=notified.output,
            trigger_rule="all_done",
            retries=0,
        )
        unplanned >> unstarted >> notified >> report
