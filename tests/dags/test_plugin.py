"""Plugin that Airflow's loader makes of the plugins folder."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.metadata import EntryPoints, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow import plugins_manager

PACKAGE = Path(__file__).resolve().parents[2] / "plugins" / "vmkeep_airflow"
DAGS = PACKAGE.parents[1] / "dags"

# Airflow's loader uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")


def test_the_plugin_is_registered_once_and_without_errors():
    plugins_manager.ensure_plugins_loaded()
    names = [plugin["name"] for plugin in plugins_manager.get_plugin_info(["name"])]
    assert names.count("vmkeep") == 1
    assert plugins_manager.get_import_errors() == {}


def test_an_installed_vmkeep_registers_itself_and_its_folder_only_stands_in(monkeypatch):
    from vmkeep_airflow.plugin import VmkeepPlugin

    (entry,) = [found for found in distribution("vmkeep").entry_points if found.group == "airflow.plugins"]
    assert entry.load() is VmkeepPlugin
    stand_in = str(PACKAGE.parent / "vmkeep_plugin.py")
    assert "VmkeepPlugin" not in runpy.run_path(stand_in)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(entry_points=EntryPoints()))
    assert runpy.run_path(stand_in)["VmkeepPlugin"] is VmkeepPlugin


def test_no_module_of_the_package_is_imported_under_its_bare_name():
    plugins_manager.ensure_plugins_loaded()
    bare = {path.stem for path in PACKAGE.rglob("*.py")} - {"__init__"}
    files = {name: getattr(sys.modules.get(name), "__file__", None) or "" for name in bare}
    assert [name for name, file in files.items() if file.startswith(str(PACKAGE))] == []


@pytest.mark.parametrize(
    "arguments", [("celery", "worker", "--queues", "backup_proxy"), ("dag-processor",), ("celery", "flower")]
)
def test_a_celery_worker_is_ready_before_it_forks_and_nothing_else_is_slowed_down(arguments):
    code = (
        f"import sys; sys.argv = ['airflow', *{arguments!r}]; import airflow\n"
        "keycache = sys.modules.get('vmkeep.repository.unlock.keycache')\n"
        "print(keycache is not None and keycache._shared is not None)"
    )
    environment = os.environ | {"AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "False"}

    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout

    assert said.splitlines()[-1] == str(arguments[:2] == ("celery", "worker"))


def test_a_warm_process_has_imported_the_libraries_by_which_tasks_read_a_large_index():
    """Every task is forked from it, and would else import them itself, which takes longer than many a task."""
    code = (
        "import sys; from vmkeep_airflow.preload import warm_up; warm_up(); before = set(sys.modules); "
        "import vmkeep.repository.index.columns; "
        "print('new:', sorted(name for name in set(sys.modules) - before if not name.startswith('vmkeep')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "new: []"


def test_a_task_that_is_forked_from_a_warm_process_compiles_no_method_of_a_value():
    code = (
        "from vmkeep_airflow.preload import warm_up; warm_up(); from vmkeep.model.job import DiskJob; "
        "print('compiled:', DiskJob.__init__.__code__.co_name, DiskJob.__eq__.__code__.co_name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "compiled: __init__ __eq__"


@pytest.mark.parametrize("dag", ["vm_backup", "vm_restore"])
def test_a_task_that_is_forked_from_a_warm_process_imports_nothing_of_ours_for_its_dag(dag):
    """Each task reads the file of its DAG, and eight of them make one backup."""
    code = (
        "import runpy, sys; from vmkeep_airflow.preload import warm_up; warm_up(); before = set(sys.modules); "
        f"runpy.run_path({str(DAGS / dag)!r} + '.py'); "
        "print('new:', sorted(name for name in set(sys.modules) - before if name.startswith('vmkeep')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "new: []"
