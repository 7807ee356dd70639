"""For tests: this process's own AIRFLOW_HOME, entered once, before anything imports airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from demo.airflow_home import AirflowHome


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
    home.set("core", "default_task_retry_delay", 1)
    home.prepare()
    os.environ.update({name: value for name, value in home.environment().items() if os.environ.get(name) != value})
    return home
