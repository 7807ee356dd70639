"""Makes what an installation needs once: Airflow's and the catalog's tables, a log-in, connections, the repository.

``python -m vmkeep_airflow.first_start`` is the service ``init`` of docker-compose.yaml. It leaves alone what is there,
so it may run at every start, and what a person has changed in Airflow's pages stays. It runs the commands that a person
would run, and stops at the first that fails. All its settings are in the environment; see ``.env.example``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmkeep.errors import VmKeepError
from vmkeep.scratch import scratch_file

_NO_REPOSITORY = 60
"""Exit code of ``vmkeep`` where there is no repository, or one that does not open."""


def main() -> int:
    """Run each step; return the exit code of the first step that fails, else 0."""
    settings = os.environ
    try:
        make_database(settings["VMKEEP_CATALOG"])
        run("airflow", "db", "migrate")
        make_login(settings["AIRFLOW_ADMIN_PASSWORD"])
        make_connections(connections(settings))
        make_repository(settings)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except VmKeepError as error:
        print(f"first_start: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(program: str, *arguments: str) -> None:
    """Run a command of this environment, and show what it says.

    :raises subprocess.CalledProcessError: it failed.
    """
    subprocess.run([str(Path(sysconfig.get_path("scripts")) / program), *arguments], check=True)


def make_database(url: str) -> None:
    """Create the catalog's database on a PostgreSQL server where it is missing."""
    from sqlalchemy import create_engine, make_url, text

    place = make_url(url)
    if place.get_backend_name() != "postgresql":
        return
    engine = create_engine(place.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as server:
        there = text("SELECT 1 FROM pg_database WHERE datname = :name")
        if server.execute(there, {"name": place.database}).first() is None:
            name = engine.dialect.identifier_preparer.quote(str(place.database))
            server.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()


def make_login(password: str) -> None:
    """Create the user ``admin``; one that is there keeps its password."""
    who = ("--username=admin", "--firstname=vmkeep", "--lastname=administrator", "--email=admin@localhost.invalid")
    run("airflow", "users", "create", *who, "--role=Admin", f"--password={password}")


def connections(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the connections that the settings describe: the repository, and the keys of a store on S3."""
    from sqlalchemy import URL, make_url

    catalog = make_url(settings["VMKEEP_CATALOG"])
    shown = URL.create(catalog.drivername, catalog.username, None, catalog.host, catalog.port, catalog.database)
    extra = {"catalog": shown.render_as_string(), "catalog_password": str(catalog.password or "")}
    made: dict[str, dict[str, Any]] = {}
    if settings["VMKEEP_REPOSITORY"].startswith("s3://"):
        extra["aws_conn_id"] = "vmkeep_s3"
        made["vmkeep_s3"] = {
            "conn_type": "aws",
            "login": settings["AWS_ACCESS_KEY_ID"],
            "password": settings["AWS_SECRET_ACCESS_KEY"],
        }
    made["vmkeep_default"] = {
        "conn_type": "vmkeep",
        "host": settings["VMKEEP_REPOSITORY"],
        "password": settings.get("VMKEEP_PASSPHRASE", ""),
        "extra": json.dumps(extra),
    }
    return made


def make_connections(made: Mapping[str, Mapping[str, Any]]) -> None:
    """Enter the connections in Airflow; one that is there stays as it is."""
    with scratch_file("connections.json", json.dumps(made)) as file:
        run("airflow", "connections", "import", str(file))


def make_repository(settings: Mapping[str, str]) -> None:
    """Create the repository where there is none; with a passphrase in the settings, an encrypted one."""
    try:
        run("vmkeep", "repo", "stats")
    except subprocess.CalledProcessError as error:
        if error.returncode != _NO_REPOSITORY:
            raise
        run("vmkeep", "repo", "init", *(["--encrypt"] if settings.get("VMKEEP_PASSPHRASE") else []))


if __name__ == "__main__":
    sys.exit(main())
