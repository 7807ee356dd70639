"""Starts a site for the pages: PostgreSQL, a lab, a repository with real files, and Airflow's API server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, text

from bench.measure import say
from bench.pages.airflowrows import POLICY, fill_airflow
from bench.pages.catalogrows import fill_catalog
from demo.airflow_home import AIRFLOW, AirflowHome
from demo.airflow_processes import AirflowProcesses, running_airflow
from demo.api import AirflowApi
from demo.lab import Lab
from vmkeep.catalog import open_catalog
from vmkeep.flows.disk_images import ImportRequest, import_images
from vmkeep.flows.fleet_notes import note_fleet
from vmkeep.repository import create_repository, open_repository
from vmkeep.testing.servers import Postgres, postgres_server

_CATALOG: Final = "vmkeep"
_QUIET: Final = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all", "autovacuum=off")
"""Statements are counted, and nothing works in the database but what a page asks."""
_NOT_NEEDED: Final = {"scheduler", "dag-processor", "triggerer"}
_FILES: Final = 5000
"""Files of the folder that the file browser lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesSite:
    """The running site."""

    postgres: Postgres
    database: Engine
    airflow: AirflowProcesses
    api: AirflowApi
    points: tuple[str, str]
    """Ids of the two points with real files, the older one first."""

    @property
    def token(self) -> str:
        """The token of a user who may do everything."""
        return self.api.token

    def restart(self) -> None:
        """Start the API server anew, as the code is now."""
        self.airflow.components["api-server"].stop()
        self.airflow.restart("api-server")
        self.airflow.wait_ready()


@contextmanager
def pages_site(folder: Path, *, vms: int, nights: int, now: datetime) -> Iterator[PagesSite]:
    """Start everything in a folder, and stop everything at the end, whatever happens."""
    with ExitStack() as stack:
        lab = Lab(folder / "lab", options=["--data-disk-gib", "0.0625"], env=os.environ)
        stack.callback(lab.stop)
        lab.start()
        postgres = stack.enter_context(postgres_server(*_QUIET))
        database = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        stack.callback(database.dispose)
        with database.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {_CATALOG}"))
            connection.execute(text("CREATE EXTENSION pg_stat_statements"))
        catalog = postgres.url.rpartition("/")[0] + f"/{_CATALOG}"
        say(f"entering {vms * nights:,} points and as many runs")
        points = _real_points(folder, catalog, now)
        _fill_catalog(catalog, vms=vms, nights=nights, now=now)
        home = _home(folder, lab, postgres, catalog)
        with database.connect() as connection:
            fill_airflow(connection, vms=vms, nights=nights, now=now)
            connection.execute(text("VACUUM ANALYZE"))
        say("starting Airflow's API server")
        airflow = stack.enter_context(running_airflow(home, without=_NOT_NEEDED))
        airflow.wait_ready()
        api = AirflowApi(home.url, user=home.user, password=home.password)
        yield PagesSite(postgres=postgres, database=database, airflow=airflow, api=api, points=points)


def _fill_catalog(catalog: str, *, vms: int, nights: int, now: datetime) -> None:
    engine = create_engine(catalog, isolation_level="AUTOCOMMIT")
    fill_catalog(create_engine(catalog), catalog, vms=vms, nights=nights, now=now)
    with engine.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def _real_points(folder: Path, catalog: str, now: datetime) -> tuple[str, str]:
    """Store two points of a machine whose disk has a folder of many files."""
    image = folder / "files.raw"
    with tempfile.TemporaryDirectory(dir=folder) as tree:
        for number in range(_FILES):
            (Path(tree) / f"file-{number:05}.txt").write_text(f"{number}\n")
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(2 * _FILES), "-d", tree, str(image)], check=True)
    repository = create_repository(str(folder / "repository"))
    request = ImportRequest(paths=(image,), name="files01", guest_id="debian12_64Guest")
    made = [import_images(repository, request, on_progress=lambda _event: None).point for _ in range(2)]
    with open_repository(repository.location) as opened, open_catalog(catalog) as cache:
        cache.refresh(opened)
        note_fleet(cache, opened, (), unasked=(), at=now)
    return made[0].id, made[1].id


def _home(folder: Path, lab: Lab, postgres: Postgres, catalog: str) -> AirflowHome:
    fields = {"catalog": catalog.replace(":hidden@", "@"), "catalog_password": "hidden"}
    connections: dict[str, dict[str, object]] = {
        "vsphere_default": lab.wait_ready().connection(),
        "vmkeep_default": {"conn_type": "vmkeep", "host": str(folder / "repository"), "extra": fields},
    }
    home = AirflowHome(folder / "airflow", connections=connections)
    home.set("database", "sql_alchemy_conn", postgres.url)
    policies = folder / "policies"
    policies.mkdir()
    (policies / f"{POLICY}.yaml").write_text(
        f"name: {POLICY}\nselection: name:*\nmax_age: 26h\nwindow: {{start: 21:00, end: 06:00, time_zone: UTC}}\n"
    )
    home.set("vmkeep", "policies", policies)
    home.prepare()
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([AIRFLOW, *command], env=home.environment(), check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return home
