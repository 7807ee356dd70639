"""Prepares a new installation: Airflow's and the catalog's tables, a login, connections and the repository.

``python -m vmkeep_airflow.first_start`` is the service ``init`` of docker-compose.yaml. It may run at every start,
because it changes nothing that exists. Two first starts on one database server wait for each other. A first start stops
at the first step that fails, and continues there when it is started again. All its settings are in the environment; see
``.env.example``.

Airflow's commands run in this process, because everybody on the host can read the arguments of a process, and one of
them is the administrator's password. Besides, Airflow takes seconds to import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NEEDED = ("VMKEEP_CATALOG", "VMKEEP_REPOSITORY", "AIRFLOW_ADMIN_PASSWORD")
_NEEDED_FOR_S3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_NO_REPOSITORY = 60
"""Exit code of ``vmkeep`` if there is no repository, or if it does not open."""
_LOCK = 0x766D6B656570
"""Number of the lock in PostgreSQL that lets only one first start work at a time. It spells ``vmkeep``."""


def main() -> int:
    """Do each step. Return the exit code of the first command that fails, else 0."""
    settings = os.environ
    try:
        check(settings)
        with alone(make_url(settings["VMKEEP_CATALOG"])):
            airflow("db", "migrate")
            make_login(settings["AIRFLOW_ADMIN_PASSWORD"])
            make_connections(connections(settings))
            make_repository(settings)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except (SettingError, SQLAlchemyError, OSError) as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        print(f"first start: {cause}. Put it right and start it again: it leaves alone what is there.", file=sys.stderr)
        return 1
    return 0


class SettingError(ValueError):
    """A variable of the environment is missing, or no text."""


def check(settings: Mapping[str, str]) -> None:
    """Look at the settings before anything is made.

    :raises SettingError: one is missing, empty, not in UTF-8, or no address of a database.
    """
    on_s3 = settings.get("VMKEEP_REPOSITORY", "").startswith("s3://")
    for name in (*_NEEDED, *(_NEEDED_FOR_S3 if on_s3 else ())):
        if not settings.get(name):
            raise SettingError(f"the variable {name} is missing or empty; .env.example explains it")
        try:
            settings[name].encode()
        except UnicodeEncodeError as error:
            raise SettingError(f"the variable {name} is not in UTF-8") from error
    try:
        make_url(settings["VMKEEP_CATALOG"]).get_dialect()
    except (SQLAlchemyError, ValueError):
        # The cause may hold a password.
        raise SettingError("the variable VMKEEP_CATALOG is no address of a database that SQLAlchemy knows") from None


@contextmanager
def alone(catalog: URL) -> Iterator[None]:
    """Make the catalog's database, if it is missing. Other first starts on its PostgreSQL server wait during the body.

    The lock ends with this process. No lock is needed for a catalog in another kind of database, which has no server.
    """
    if catalog.get_backend_name() != "postgresql":
        yield
        return
    engine = create_engine(catalog.set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as server:
            if not server.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar():
                print("first start: waiting for the end of another one", flush=True)
                server.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            make_database(server, str(catalog.database))
            yield
    finally:
        engine.dispose()


def make_database(server: Connection, name: str) -> None:
    """Create a database on a PostgreSQL server, if it is missing."""
    there = text("SELECT 1 FROM pg_database WHERE datname = :name")
    if server.execute(there, {"name": name}).first() is None:
        server.execute(text(f"CREATE DATABASE {server.dialect.identifier_preparer.quote(name)}"))


def airflow(*arguments: str) -> None:
    """Run one of Airflow's commands in this process."""
    from airflow.cli.cli_parser import get_parser

    given = get_parser().parse_args(list(arguments))
    given.func(given)


def run(program: str, *arguments: str) -> None:
    """Run a command of this environment, and show its output.

    :raises subprocess.CalledProcessError: the command failed.
    """
    subprocess.run([str(Path(sysconfig.get_path("scripts")) / program), *arguments], check=True)


def make_login(password: str) -> None:
    """Create the user ``admin`` if there is no user at all, so that a deleted ``admin`` does not come back."""
    from airflow.providers.fab.auth_manager.models import User
    from airflow.utils.session import create_session

    with create_session() as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            print("there are users, so none is made")
            return
    who = ("--username=admin", "--firstname=vmkeep", "--lastname=administrator", "--email=admin@localhost.invalid")
    airflow("users", "create", *who, "--role=Admin", f"--password={password}")


def connections(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the connections that the settings describe: the repository, and the keys of a store on S3."""
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
    """Create the connections in Airflow, all or none. An existing connection stays as it is."""
    from airflow.models.connection import Connection as AirflowConnection
    from airflow.utils.session import create_session

    with create_session() as session:
        for conn_id, fields in made.items():
            if session.scalar(select(AirflowConnection.id).filter_by(conn_id=conn_id)) is None:
                session.add(AirflowConnection(conn_id=conn_id, **fields))
                print(f"connection {conn_id} is made")
            else:
                print(f"connection {conn_id} is there, and stays as it is")


def make_repository(settings: Mapping[str, str]) -> None:
    """Create the repository, if there is none. With a passphrase in the settings it is encrypted."""
    try:
        run("vmkeep", "repo", "stats")
    except subprocess.CalledProcessError as error:
        if error.returncode != _NO_REPOSITORY:
            raise
        run("vmkeep", "repo", "init", *(["--encrypt"] if settings.get("VMKEEP_PASSPHRASE") else []))


if __name__ == "__main__":
    sys.exit(main())
