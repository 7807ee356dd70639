"""The engine, imported once in the process that tasks are forked from: a second less for each task.

That is the scheduler with LocalExecutor, and the worker with Celery, if ``lazy_load_plugins`` is off in the section
``core`` of its settings. The work that a passphrase costs is done once for all of its tasks, too. Other executors start
their tasks from processes of their own, where this does nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from airflow.configuration import conf
from airflow.listeners import hookimpl

from vmkeep_airflow import operators


@hookimpl
def on_starting(component: Any) -> None:
    """Get ready as the scheduler starts and before it has forked anything."""
    if (
        type(component).__name__ == "Job"
        and "scheduler" in sys.argv
        and "LocalExecutor" in conf.get("core", "executor")
    ):
        warm_up()


def in_celery_worker() -> bool:
    """Whether this process is a Celery worker that has not begun to fork."""
    return sys.argv[1:3] == ["celery", "worker"]


def warm_up() -> None:
    """Import what every task imports, and keep what unlocks a repository for all of them (see ``keycache``)."""
    for module in iter_modules(operators.__path__, f"{operators.__name__}."):
        import_module(module.name)
    import_module("vmkeep.flows.backup")
    import_module("vmkeep.flows.restore")
    keycache: Any = import_module("vmkeep.repository.keycache")
    keycache.share_keys()
