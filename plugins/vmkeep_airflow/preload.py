"""Imports the engine once in the process from which tasks are forked, so that each task starts a second faster.

With LocalExecutor this is the scheduler. With Celery it is the worker, if ``lazy_load_plugins`` is off in section
``core`` of its settings. The slow derivation of a key from a passphrase is also done once for all tasks, and they share
one log-in to each vCenter. Other executors start their tasks from other processes, where this module does nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from airflow.configuration import conf
from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager

from vmkeep_airflow import operators

_IN_EVERY_TASK = (
    *("vmkeep.flows.held_vms", "vmkeep.flows.backup", "vmkeep.flows.restore", "vmkeep.flows.leftovers"),
    *("vmkeep_airflow.site", "vmkeep_airflow.limits", "vmkeep_airflow.params", "vmkeep.flows.pointlist"),
    "sqlalchemy.dialects.postgresql",  # as soon as a point enters the catalog
    "numpy.typing",  # as soon as the index of the repository has some ten segments
    *("cryptography.hazmat.primitives.ciphers.aead", "cryptography.hazmat.primitives.kdf.argon2"),
    *("airflow.dag_processing.bundles.local", "airflow.providers.standard.operators.empty", "airflow.sdk.bases.sensor"),
    *("airflow.sdk.execution_time.timeout", "airflow.sdk.execution_time.cache", "jinja2.ext"),
    *("_strptime", "airflow.version"),
)
"""Modules that tasks import beside their operators, and that Airflow imports before it runs one."""


@hookimpl
def on_starting(component: Any) -> None:
    """Import the engine when the scheduler starts, before it has forked."""
    if (
        type(component).__name__ == "Job"
        and "scheduler" in sys.argv
        and "LocalExecutor" in conf.get("core", "executor")
    ):
        warm_up()
        get_listener_manager()  # because otherwise each task searches the plugins and all installed packages


def in_celery_worker() -> bool:
    """Return whether this process is a Celery worker that has not begun to fork."""
    return sys.argv[1:3] == ["celery", "worker"]


def warm_up() -> None:
    """Import the modules that every task imports, and share log-ins and the keys that a passphrase unlocks."""
    for module in iter_modules(operators.__path__, f"{operators.__name__}."):
        import_module(module.name)
    for name in _IN_EVERY_TASK:
        import_module(name)
    # Imported here, because it takes time that a web server need not spend.
    from vmkeep.flows.workers import prepare_worker

    prepare_worker()
