"""What Airflow's plugin loader makes of the plugins folder."""

from __future__ import annotations

import sys
from pathlib import Path

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


def test_no_module_of_the_package_is_imported_under_its_bare_name():
    plugins_manager.ensure_plugins_loaded()
    bare = {path.stem for path in PACKAGE.rglob("*.py")} - {"__init__"}
    files = {name: getattr(sys.modules.get(name), "__file__", None) or "" for name in bare}
    assert [name for name, file in files.items() if file.startswith(str(PACKAGE))] == []
