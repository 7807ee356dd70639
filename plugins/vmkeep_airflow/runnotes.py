"""Notes on DAG runs, which Airflow shows beside the grid: which VM a run is about, and why it is red."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_LONGEST = 1000
"""Characters that Airflow keeps of a note."""


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Note on a run that begins which VM it is about, unless the run has a note."""
    about = subject(dag_run.dag_id, dag_run.conf or {})
    if about and not dag_run.note:
        add_note(dag_run, about)


def subject(dag_id: str, params: Mapping[str, Any]) -> str | None:
    """Return the VM or point that a run of that DAG with these params is about."""
    if dag_id == "vm_backup":
        return params.get("vm")
    if dag_id == "vm_restore":
        return f"{params.get('point')} to {params.get('new_name') or params.get('vm') or 'its original VM'}"
    return None


def add_note(dag_run: DagRun, line: str) -> None:
    """Append a line to the note of a run; one that is there already is not repeated."""
    lines = (dag_run.note or "").splitlines()
    if line not in lines:
        dag_run.note = "\n".join([*lines, line])[:_LONGEST]
