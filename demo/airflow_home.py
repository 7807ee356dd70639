"""An AIRFLOW_HOME of one's own: its settings, and a database that is migrated once and copied from then on."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "var" / "cache"
AIRFLOW = str(Path(sys.executable).with_name("airflow"))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AirflowHome:
    """A folder with all that Airflow writes, and the environment that makes its components use it.

    Nothing is read from the caller's own Airflow settings, but for those that :meth:`pass_on` takes.
    """

    def __init__(self, folder: Path, *, connections: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self.folder = folder.resolve()
        self.port = free_port()
        self.user = "admin"
        self.password = secrets.token_urlsafe(9)
        self._connections = dict(connections or {})
        self._settings = _settings(self.folder, self.port)

    @property
    def url(self) -> str:
        """Address of the UI and the REST API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "airflow.db"

    def connect(self, conn_id: str, **fields: object) -> None:
        """Add a connection, by environment; only processes started later see it."""
        self._connections[conn_id] = fields

    def set(self, section: str, key: str, value: object) -> None:
        """Change one of Airflow's settings; only processes started later see it."""
        self._settings[f"AIRFLOW__{section.upper()}__{key.upper()}"] = str(value)

    def give(self, variable: str, value: object) -> None:
        """Give a variable to the environment of the components; only processes started later see it."""
        self._settings[variable] = str(value)

    def pass_on(self, environment: Mapping[str, str]) -> None:
        """Take over the settings of a visitor that the demo is made to try."""
        self._settings |= {name: value for name, value in environment.items() if name.startswith(_PASSED_ON)}

    def get(self, section: str, key: str) -> str:
        """Return one of the settings that this home has made."""
        return self._settings[f"AIRFLOW__{section.upper()}__{key.upper()}"]

    def environment(self, *, patience: int = 60) -> dict[str, str]:
        """Return the environment for Airflow's components and for whoever imports airflow.

        :param patience: seconds for which a process waits until another one has written to SQLite.
        """
        is_sqlite = self._settings[_DATABASE] == _database(self.folder, patience=60)
        database = {_DATABASE: _database(self.folder, patience=patience)} if is_sqlite else {}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        given = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self._connections.items()}
        return inherited | self._settings | given | database

    def prepare(self) -> None:
        """Make the folder, the login, and the database."""
        self.folder.mkdir(parents=True, exist_ok=True)
        passwords = self.folder / "passwords.json"
        names = [each.partition(":")[0] for each in self.get("core", "simple_auth_manager_users").split(",")]
        passwords.write_text(json.dumps(dict.fromkeys(names, self.password)))
        passwords.chmod(0o600)
        template = migrated_database()
        shutil.copyfile(template, self.database)


_PASSED_ON = ("AIRFLOW__VMKEEP__", "AIRFLOW__METRICS__", "AIRFLOW__SMTP__")
"""Airflow's settings that a visitor may try: those of vmkeep, and the ways by which it tells people and systems."""
_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
OUTAGE = {
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "64",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "30",
    "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "7200",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "900",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1200",
}
"""Lets every task, a copy of many hours above all, live on while no API server answers: for ten minutes at least."""


def _settings(home: Path, port: int) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "10",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,second:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        _DATABASE: _database(home, patience=60),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__EXPOSE_STACKTRACE": "True",  # so that an answer tells the statement that found SQLite locked
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # nobody changes the DAGs meanwhile
        "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": "10",
        "GX_ANALYTICS_ENABLED": "false",
        **OUTAGE,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _database(home: Path, *, patience: int) -> str:
    return f"sqlite:///{home / 'airflow.db'}?timeout={patience}"


def migrated_database() -> Path:
    """Return an empty, migrated SQLite database of this Airflow version; made on first use, which takes some 20 s."""
    template = CACHE / f"airflow-{version('apache-airflow')}.db"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "airflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            home = CACHE / "migrate"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            settings = _settings(home, 0)
            done = subprocess.run(
                [AIRFLOW, "db", "migrate"], env=os.environ | settings, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"airflow db migrate failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
            (home / "airflow.db").replace(template)
            shutil.rmtree(home)
    return template
