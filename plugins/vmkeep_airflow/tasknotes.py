"""Writes a note on each disk's task when its run ends, so that the grid shows the bytes without a look into a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from vmkeep.model.wording import size
from vmkeep_airflow.ours import is_ours

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    """Note the bytes of each disk of a backup or a restore."""
    _note_disks(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    """Note the bytes of the disks that were done before the run failed."""
    _note_disks(dag_run)


def copied(copy: Mapping[str, Any]) -> str:
    """Return the note on the copy of a disk.

    :param copy: a ``DiskCopy`` as a dict.
    """
    stored = f"{size(copy['bytes_read'])} read, {size(copy['bytes_stored'])} stored"
    return f"copied: {stored} in {copy['seconds']:.0f} s over {copy['transport'] or 'no transport'}"


def written(write: Mapping[str, Any]) -> str:
    """Return the note on the writing of a disk.

    :param write: a ``DiskWrite`` as a dict.
    """
    done = f"{size(write['bytes_written'])} written, {size(write['bytes_compared'])} read back"
    return f"written: {done} in {write['seconds']:.0f} s over {write['transport']}"


_NOTES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "vm_backup": ("copy_disk", copied),
    "vm_restore": ("write_disk", written),
}
"""The task of each disk by DAG, and the function that words its note."""


def _note_disks(dag_run: DagRun) -> None:
    """Write the notes, except over one that a person has written."""
    if dag_run.dag_id not in _NOTES or not is_ours(dag_run):
        return
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    task, words = _NOTES[dag_run.dag_id]
    session = object_session(dag_run)
    assert session is not None
    where = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, "task_id": task}
    found = session.scalars(select(XComModel).filter_by(**where, key="return_value"))
    results = {each.map_index: XComModel.deserialize_value(each) for each in found}
    for ti in session.scalars(select(TaskInstance).filter_by(**where)):
        result = results.get(ti.map_index)
        ours = not ti.note or ti.note.startswith(("copied: ", "written: "))
        if isinstance(result, Mapping) and "transport" in result and ours:  # an older program left less
            ti.note = words(result)
