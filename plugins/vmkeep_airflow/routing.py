"""Sends a run's tasks to the proxy that the run names.

This module is a policy of Airflow, found by the entry point ``airflow.policy``. Queue and pool of a task are fixed in
its DAG file and take no template. But Airflow calls its policies whenever it makes task instances, including mapped and
cleared ones, and a policy may change both. See decision 0024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import settings
from airflow.policies import hookimpl

from vmkeep_airflow.proxies import BACKUP_PROXY, chosen_proxy, proxies

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

if len(proxies()) > 1:
    # Without a file airflow_local_settings.py, Airflow would skip all such policies for the tasks of a new run.
    vars(settings.task_instance_mutation_hook)["is_noop"] = False


@hookimpl
def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Give a task for the usual proxy the queue and the pool of the proxy in the run's field ``proxy``.

    Names are checked elsewhere: Airflow refuses to trigger a run whose ``proxy`` the DAG's form does not list, and
    ``starts`` fails a run that is cleared after its proxy has left the list.
    """
    chosen = chosen_proxy(dag_run.conf) if dag_run is not None else None
    if chosen is None:
        return
    if task_instance.queue == BACKUP_PROXY:
        task_instance.queue = chosen
    if task_instance.pool == BACKUP_PROXY:
        task_instance.pool = chosen
