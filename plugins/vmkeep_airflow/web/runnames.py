"""Names runs by the VM, point or policy that they are about, and reads the results of their tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from vmkeep.model.wording import named_apart
from vmkeep_airflow.policies import PREFIX
from vmkeep_airflow.runcauses import without_end
from vmkeep_airflow.runnotes import restore_subject, subject


def about_of(run: DagRun) -> str:
    """Return the VM, point or policy of a run, as far as the run itself tells; maybe empty.

    Only the note of a run that has a VM or a point begins with it. Others begin with what was found.
    """
    if run.dag_id.startswith(PREFIX):
        return f"policy {run.dag_id.removeprefix(PREFIX)}"
    about = subject(run.dag_id, run.conf or {})
    return (without_end(run.note or "").partition("\n")[0] or about) if about else ""


def names_of(session: Session, runs: Sequence[DagRun]) -> dict[int, str]:
    """Return the names of the VMs of backups and restores, as their first tasks have found them, by the runs' ids.

    Two VMs of one name that are backed up have their managed object ids beside it.
    """
    found = results_of(session, [run.id for run in runs if run.dag_id == "vm_backup"], "preflight")
    vms = {run: value.get("vm", {}) for run, value in found.items()}
    names = named_apart({run: (str(vm["name"]), str(vm.get("moref"))) for run, vm in vms.items() if vm.get("name")})
    plans = results_of(session, [run.id for run in runs if run.dag_id == "vm_restore"], "plan")
    restores = {
        run: restore_subject(plan["vm"]["name"], plan["point"], plan["target_name"])
        for run, plan in plans.items()
        if plan.get("vm")
    }
    return names | {run: str(name) for run, name in restores.items() if name}


def results_of(session: Session, runs: Collection[int], task: str) -> dict[int, Mapping[str, Any]]:
    """Return the results of a task by the ids of its runs."""
    if not runs:
        return {}
    wanted = select(XComModel.dag_run_id, XComModel.value).where(
        XComModel.dag_run_id.in_(runs), XComModel.task_id == task, XComModel.key == "return_value"
    )
    found = {each.dag_run_id: XComModel.deserialize_value(each) for each in session.execute(wanted)}
    return {run: value for run, value in found.items() if isinstance(value, Mapping)}
