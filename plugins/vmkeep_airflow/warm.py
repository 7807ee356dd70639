"""The engine, imported once in the scheduler that LocalExecutor forks its tasks from: a second less for each task.

Other executors start their tasks from workers of their own, where this does nothing.
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
    """Import what every task imports, as the scheduler starts and before it has forked anything."""
    if (
        type(component).__name__ == "Job"
        and "scheduler" in sys.argv
        and "LocalExecutor" in conf.get("core", "executor")
    ):
        for module in iter_modules(operators.__path__, f"{operators.__name__}."):
            import_module(module.name)
        import_module("vmkeep.flows.backup")
        import_module("vmkeep.flows.restore")
