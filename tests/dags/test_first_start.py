"""The first start of an installation: its settings are looked at first, and two of them at once do not meet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from tests.patience import HANG, eventually
from vmkeep.testing.servers import Postgres, free_ports, postgres_server
from vmkeep_airflow import first_start

ODD = "-é'\"$%{}\n "
"""A password in which a shell, a parser of options and a formatter would each see something else."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def settings(tmp_path) -> dict[str, str]:
    return {
        "VMKEEP_CATALOG": f"postgresql+psycopg2://vmkeep:hidden@127.0.0.1:{free_ports(1)[0]}/vmkeep",
        "VMKEEP_REPOSITORY": "s3://vmkeep/repository",
        "AIRFLOW_ADMIN_PASSWORD": ODD,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }


@pytest.fixture
def start(settings, monkeypatch, capsys):
    """Return a function that does a first start with changed settings; it has to fail in one line, which it returns."""

    def failing(**changes: str) -> str:
        for name, value in (settings | changes).items():
            monkeypatch.setenv(name, value)
        for done in ("airflow", "run", "make_database"):
            monkeypatch.setattr(first_start, done, lambda *_: pytest.fail("something was made"))
        assert first_start.main() == 1
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert "hidden" not in line
        return line

    return failing


@pytest.mark.parametrize("name", [*first_start._NEEDED, *first_start._NEEDED_FOR_S3])
def test_an_empty_setting_is_named_before_anything_is_made(start, name):
    assert name in start(**{name: ""})


def test_a_setting_that_is_no_text_is_named_before_anything_is_made(start):
    assert "AIRFLOW_ADMIN_PASSWORD is not in UTF-8" in start(AIRFLOW_ADMIN_PASSWORD=os.fsdecode(b"\xff"))


@pytest.mark.parametrize(
    "catalog", ["hidden", "hidden://vmkeep@db/vmkeep", "postgresql+hidden://db/vmkeep", "postgresql://db:hidden/vmkeep"]
)
def test_an_address_of_no_database_is_refused_before_anything_is_made(start, catalog):
    assert "VMKEEP_CATALOG is no address of a database" in start(VMKEEP_CATALOG=catalog)


def test_a_database_that_does_not_answer_is_told_in_one_line(start):
    assert "127.0.0.1" in start()


def test_a_first_start_waits_for_another_one_and_goes_on_when_that_has_died(postgres, settings):
    """Else both create one user, and one of them ends with a traceback."""
    catalog = f"{postgres.url.rpartition('/')[0]}/catalog"
    first = create_engine(postgres.url, isolation_level="AUTOCOMMIT").connect()
    assert first.execute(text(f"SELECT pg_try_advisory_lock({first_start._LOCK})")).scalar()
    steps = (
        "from vmkeep_airflow import first_start as f\n"
        "f.airflow = f.make_login = f.make_connections = f.make_repository = lambda *_: print('worked', flush=True)\n"
        "raise SystemExit(f.main())"
    )
    second = subprocess.Popen(
        [sys.executable, "-c", steps], env=os.environ | settings | {"VMKEEP_CATALOG": catalog},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert second.stdout is not None
    try:
        assert "waiting" in second.stdout.readline()
        found = text("SELECT count(*) FROM pg_database WHERE datname = 'catalog'")
        waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        eventually(lambda: first.execute(waits).scalar() == 1, "the second one waits")
        assert first.execute(found).scalar() == 0
        first.close()
        first.engine.dispose()
        assert second.wait(HANG) == 0
        assert second.stdout.read().split() == ["worked"] * 4
    finally:
        second.kill()
        second.communicate()


def test_a_password_reaches_airflow_whatever_is_in_it():
    from airflow.cli.cli_parser import get_parser

    assert get_parser().parse_args(["connections", "add", "x", f"--conn-password={ODD}"]).conn_password == ODD


def test_a_command_of_airflow_is_no_process_whose_arguments_others_could_read(monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    first_start.airflow("version")
    assert capsys.readouterr().out.strip()
