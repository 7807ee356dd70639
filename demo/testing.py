"""For tests: this process's own AIRFLOW_HOME, entered once, before anything imports airflow."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from demo.airflow_home import ROOT, AirflowHome


@cache
def enter_airflow_home() -> AirflowHome:
    """Make this process use a private, migrated AIRFLOW_HOME, which is removed when it ends.

    :raises RuntimeError: airflow was imported already and has read other settings.
    """
    if "airflow" in sys.modules:
        raise RuntimeError("airflow was imported before its home was chosen")
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-airflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = AirflowHome(folder)
    home.set("core", "default_task_retry_delay", 0)  # growing pauses stay at a second then
    home.set("dag_processor", "dag_bundle_config_list", _one_for_each_file())
    home.prepare()
    os.environ.update({name: value for name, value in home.environment().items() if os.environ.get(name) != value})
    return home


def _one_for_each_file() -> str:
    """Make each DAG file a bundle of its own, because ``dag.test()`` reads a DAG's whole bundle at each call.

    The whole folder comes last, under the name that it has by default.
    """
    files = sorted((ROOT / "dags").glob("*.py"))
    return json.dumps([*(_bundle(file.stem, file) for file in files), _bundle("dags-folder", ROOT / "dags")])


def _bundle(name: str, path: Path) -> dict[str, object]:
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": name, "classpath": local, "kwargs": {"path": str(path)}}
