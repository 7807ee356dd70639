"""Writes notes on DAG runs, which Airflow shows beside the grid: the run's VM, and the reason if it is red."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_LONGEST = 1000
"""Greatest number of characters that Airflow keeps of a note."""


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Name the VM in the note of a run that begins, unless the run has a note."""
    about = subject(dag_run.dag_id, dag_run.conf or {})
    if about and not dag_run.note:
        add_note(dag_run, about)


def subject(dag_id: str, params: Mapping[str, Any]) -> str | None:
    """Return the VM or point of a run of that DAG with these params; ``None``: it has neither."""
    if dag_id == "vm_backup":
        return params.get("vm")
    if dag_id == "vm_restore":
        return f"{params.get('point')} to {params.get('new_name') or params.get('vm') or 'its original VM'}"
    return None


def add_note(dag_run: DagRun, line: str) -> None:
    """Append a line to the note of a run, unless the note has it already."""
    lines = (dag_run.note or "").splitlines()
    if line not in lines:
        dag_run.note = "\n".join([*lines, line])[:_LONGEST]
