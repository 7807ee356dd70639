"""Sends a run's tasks to the proxy that the run names.

It is a policy of Airflow's, found by the entry point ``airflow.policy``. Queue and pool of a task are fixed in its DAG
file and take no template. Airflow asks its policies whenever it makes task instances, mapped and cleared ones too, and
a policy may change both. See decision 0024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import settings
from airflow.policies import hookimpl

from vmkeep_airflow.proxies import BACKUP_PROXY, proxies

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

if len(proxies()) > 1:
    # Airflow skips all such policies while it makes a new run's tasks, unless a file airflow_local_settings.py exists.
    vars(settings.task_instance_mutation_hook)["is_noop"] = False


@hookimpl
def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Give a task for the usual proxy the queue and the pool of the proxy in the run's field ``proxy``.

    The names are checked before: Airflow refuses a run whose ``proxy`` is none of those that the DAG's form lists.
    """
    chosen = (dag_run.conf or {}).get("proxy") if dag_run is not None else None
    if not chosen:
        return
    if task_instance.queue == BACKUP_PROXY:
        task_instance.queue = chosen
    if task_instance.pool == BACKUP_PROXY:
        task_instance.pool = chosen
