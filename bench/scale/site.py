"""Starts a site for the benchmark: a lab with many VMs, PostgreSQL, a repository, one policy, and Airflow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from bench.measure import say
from bench.scale.fleet import PREFIX, make_fleet
from demo.airflow_home import AIRFLOW, AirflowHome
from demo.airflow_processes import AirflowProcesses, running_airflow
from demo.api import AirflowApi
from demo.lab import Lab, LabControl
from vmkeep.clock import now
from vmkeep.repository import create_repository
from vmkeep.testing.servers import Postgres, postgres_server

POLICY = "scale"
WINDOW = f"backup_window_{POLICY}"
_CATALOG = "vmkeep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of the site, and the limits that it has to keep."""

    vms: int
    disk_mib: int
    data_mib: int
    backups_at_once: int
    """The limit of the policy: as many VMs may have a snapshot."""
    copies_at_once: int
    """Slots of the proxy's pool: as many disks may be read."""
    nfc_sessions: int
    """Sessions that a host allows. The lab refuses more."""
    parallelism: int
    """Tasks that Airflow runs at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSite:
    """The running site."""

    size: Size
    lab: Lab
    control: LabControl
    postgres: Postgres
    database: Engine
    airflow: AirflowProcesses
    api: AirflowApi
    repository: str


@contextmanager
def running_site(folder: Path, size: Size) -> Iterator[RunningSite]:
    """Start everything in a folder, and stop everything at the end, whatever happens."""
    with ExitStack() as stack:
        say(f"starting a lab, and making {size.vms} VMs")
        lab = Lab(folder / "lab", options=["--data-disk-gib", "0.0625"], env=os.environ)
        stack.callback(lab.stop)
        lab.start()
        control = LabControl(lab.wait_ready())
        make_fleet(lab.wait_ready(), size.vms, disk_mib=size.disk_mib, data_mib=size.data_mib)
        control.call("POST", "/settings", {"nfc_session_limit": size.nfc_sessions})
        say("starting PostgreSQL and Airflow")
        postgres = stack.enter_context(postgres_server())
        database = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        stack.callback(database.dispose)
        with database.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {_CATALOG}"))
        repository = str(folder / "repository")
        create_repository(repository)
        home = _home(folder, size, lab, postgres, repository)
        airflow = stack.enter_context(running_airflow(home))
        airflow.wait_ready()
        api = AirflowApi(home.url, user=home.user, password=home.password)
        yield RunningSite(
            size=size, lab=lab, control=control, postgres=postgres, database=database, airflow=airflow, api=api,
            repository=repository,
        )  # fmt: skip


def _home(folder: Path, size: Size, lab: Lab, postgres: Postgres, repository: str) -> AirflowHome:
    catalog = {"catalog": postgres.url.rpartition("/")[0] + f"/{_CATALOG}"}
    connections: dict[str, dict[str, object]] = {
        "vsphere_default": lab.wait_ready().connection(),
        "vmkeep_default": {"conn_type": "vmkeep", "host": repository, "extra": _without_password(catalog)},
    }
    home = AirflowHome(folder / "airflow", connections=connections)
    home.set("database", "sql_alchemy_conn", postgres.url)
    home.set("core", "parallelism", size.parallelism)
    home.set("core", "executor", "LocalExecutor")
    home.set("scheduler", "scheduler_idle_sleep_time", "0.5")  # these two as in docker-compose.yaml
    home.set("workers", "min_heartbeat_interval", "2")
    home.set("vmkeep", "policies", _policies(folder / "policies", size))
    home.prepare()
    subprocess.run(
        [AIRFLOW, "db", "migrate"], env=home.environment(), check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    pool = ["pools", "set", "backup_proxy", str(size.copies_at_once), "disks copied at once"]
    subprocess.run([AIRFLOW, *pool], env=home.environment(), check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return home


def _without_password(catalog: dict[str, str]) -> dict[str, str]:
    """Return the fields of a connection, which keep the password out of the URL."""
    return {"catalog": catalog["catalog"].replace(":hidden@", "@"), "catalog_password": "hidden"}


def _policies(folder: Path, size: Size) -> Path:
    """Write the one policy. Its window is open for nearly a day from now on."""
    folder.mkdir()
    opens = now()
    closes = opens - timedelta(minutes=2)
    (folder / f"{POLICY}.yaml").write_text(
        f"name: {POLICY}\n"
        f"selection: name:{PREFIX}*\n"
        f'window: {{start: "{opens:%H:%M}", end: "{closes:%H:%M}", time_zone: UTC}}\n'
        f"limits: {{backups_at_once: {size.backups_at_once}}}\n"
    )
    return folder
