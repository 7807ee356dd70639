"""What Airflow's plugin loader makes of the plugins folder."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import EntryPoints, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow import plugins_manager

PACKAGE = Path(__file__).resolve().parents[2] / "plugins" / "vmkeep_airflow"

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
