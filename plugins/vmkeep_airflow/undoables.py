"""The params and the tasks of the two DAGs that end a restore which keeps a snapshot: by an undo, or for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from vmkeep_airflow.limits import ASKED_AGAIN
from vmkeep_airflow.operators.approve_undo import ApproveUndoOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.end_undoable import EndUndoableOperator
from vmkeep_airflow.operators.find_undoable import FindUndoableOperator
from vmkeep_airflow.params import REPOSITORY, VSPHERE, optional_text

DEFAULTS = {
    "owner": "vmkeep",
    "retries": 2,
    "execution_timeout": timedelta(hours=26),  # because merging a large snapshot takes hours
}
"""Arguments of all tasks of such a DAG."""


def undoable_params(*, unasked: str, **more: Param) -> dict[str, Param]:
    """Return the params of such a DAG.

    :param unasked: a sentence for the form, on the effect of a run that asks no person.
    :param more: params of this DAG alone.
    """
    return {
        "vm": Param(
            type="string",
            minLength=1,
            title="VM",
            description="The restored VM: a name, or uuid:, moref:, ipaddr: and a value.",
        ),
        "restore": optional_text(
            title="Restore",
            description="The restore, by its run key, as the log of finish and the sweep name it. Empty: the only one "
            "that keeps a snapshot.",
        ),
        **more,
        "yes": Param(False, type="boolean", title="Do not ask", description=unasked),
        "vsphere": VSPHERE,
        "repository": REPOSITORY,
    }


def make_end(dag: DAG, *, task_id: str, undo: bool, **options: Any) -> None:
    """Make the tasks of a DAG that has :func:`undoable_params`.

    :param task_id: the task that ends the restore.
    :param undo: put the VM back; otherwise keep the restored state.
    :param options: further arguments of that task.
    """
    site = {"vsphere_conn_id": "{{ params.vsphere }}", "repository_conn_id": "{{ params.repository }}"}
    found = FindUndoableOperator(task_id="find", vm=dag.param("vm"), restore=dag.param("restore"), **site)
    approved = ApproveUndoOperator(
        task_id="approve",
        found=found.output,
        yes=dag.param("yes"),
        undo=undo,
        response_timeout=timedelta(hours=24),
        **ASKED_AGAIN,
        **site,
    )
    done = EndUndoableOperator(
        task_id=task_id, found=found.output, approval=approved.output, undo=undo, **options, **site
    )
    closed = CloseRunOperator(task_id="close_run", result_task_id=task_id, retries=0).as_teardown(
        on_failure_fail_dagrun=True
    )
    found >> approved >> done >> closed
