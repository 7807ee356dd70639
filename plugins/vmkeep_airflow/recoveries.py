"""The params and the tasks of a recovery, which the DAG that people start and those of drills by schedule share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, XComArg

from vmkeep_airflow.limits import ASKED_AGAIN, PATIENT
from vmkeep_airflow.operators.approve_recovery import ALL, PLAN_TEXT, ApproveRecoveryOperator
from vmkeep_airflow.operators.recover_site import (
    CleanUpDrillOperator,
    RecoveredVmOperator,
    RecoverSiteOperator,
    ReportRecoveryOperator,
)
from vmkeep_airflow.params import PROXY, REPOSITORY, VSPHERE, optional_lines, optional_text
from vmkeep_airflow.plans import ScheduledDrill
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "plan": Param(
        type="string",
        minLength=1,
        format="multiline",
        title="Plan",
        description="The name of a plan that Recoveries lists, e.g. site-a; or the text of a plan file, whose fields "
        "'vmkeep dr schema' prints.",
    ),
    "drill": Param(
        False,
        type="boolean",
        title="Drill",
        description="Rehearse: restore to the plan's isolated network, probe, and remove the VMs again.",
    ),
    "approved": optional_lines(
        title="Approved groups",
        description="Names of the groups that need an approval and have it, one in each line, or all. A person is "
        "asked about the others before anything is changed.",
    ),
    "despite_refusals": Param(
        False,
        type="boolean",
        title="Despite refusals",
        description="Restore the other VMs if some cannot be restored. Without it, nothing is begun then.",
    ),
    "before": optional_text(
        title="Before", description="Take no restore point that is younger than this time, e.g. 2026-11-20T03:00:00Z."
    ),
    "lost_at": optional_text(
        title="Lost at", description="Time of the disaster, from which the age of the data counts. Empty: now."
    ),
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}


def drill_params(drill: ScheduledDrill) -> dict[str, Param]:
    """Return the params of a drill by schedule: those of a recovery, filled in."""
    filled = {
        "plan": drill.text,
        "drill": True,
        "approved": [ALL],
        "despite_refusals": True,
        "vsphere": drill.rules.vsphere,
        "repository": drill.rules.repository,
    }
    return {name: _filled(own, filled[name]) if name in filled else own for name, own in PARAMS.items()}


def _filled(param: Param, value: Any) -> Param:
    return Param(value, description=param.description, **param.schema)


def make_recovery(dag: DAG) -> None:
    """Make the tasks of a recovery in a DAG that has :data:`PARAMS`."""
    site = {"vsphere_conn_id": "{{ params.vsphere }}", "repository_conn_id": "{{ params.repository }}"}
    approved = ApproveRecoveryOperator(
        task_id="approve",
        plan=dag.param("plan"),
        approved=dag.param("approved"),
        response_timeout=timedelta(hours=24),
        execution_timeout=timedelta(minutes=30),
        **ASKED_AGAIN,
    )
    recovered = RecoverSiteOperator(
        task_id="recover",
        queue=BACKUP_PROXY,
        pool=BACKUP_PROXY,
        execution_timeout=timedelta(hours=60),
        approved=approved.output,
        plan=XComArg(approved, key=PLAN_TEXT),
        **{name: dag.param(name) for name in ("drill", "despite_refusals", "before", "lost_at")},
        **PATIENT,
        **site,
    )
    shown = RecoveredVmOperator.partial(
        task_id="vm",
        map_index_template="{{ task.outcome['new_name'] }}",
        retries=0,
        execution_timeout=timedelta(minutes=5),
    ).expand(outcome=recovered.output)
    cleaned = CleanUpDrillOperator(
        task_id="clean_up",
        trigger_rule="all_done",
        retries=5,
        execution_timeout=timedelta(hours=2),
        drill=dag.param("drill"),
        **site,
    )
    reported = ReportRecoveryOperator(
        task_id="report", trigger_rule="all_done", retries=0, execution_timeout=timedelta(minutes=5)
    )
    approved >> recovered >> cleaned
    [shown, cleaned] >> reported
