"""``vmkeep key`` and the passphrase's ways into a command."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.sealed import CHEAP, PASSPHRASE
from vmkeep.cli.main import cli
from vmkeep.errors import RepositoryError, UsageError
from vmkeep.repository.unlock import slots


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setattr(slots, "COST", CHEAP)
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    for name in ("VMKEEP_PASSPHRASE", "VMKEEP_PASSPHRASE_FILE", "VMKEEP_NEW_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments, **environment):
    done = CliRunner().invoke(
        cli, [*arguments, "--json"], catch_exceptions=False, standalone_mode=False, env=environment
    )
    if done.exception:
        raise done.exception
    return json.loads(done.output)


@pytest.fixture
def passphrase_file(tmp_path):
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    file.chmod(0o600)
    return file


def test_keys_are_changed_from_the_command_line(passphrase_file, tmp_path):
    made = run("repo", "init", "--encrypt", "--passphrase-file", str(passphrase_file))
    assert made["encrypted"]
    run("key", "add", "--label", "new", VMKEEP_PASSPHRASE=made["recovery_key"], VMKEEP_NEW_PASSPHRASE="another one")
    listed = run("key", "list", VMKEEP_PASSPHRASE="another one")
    assert sorted(slot["opens_with"] for slot in listed) == ["passphrase", "passphrase", "recovery key"]
    old = next(slot["id"] for slot in listed if slot["opens_with"] == "passphrase" and slot["label"] != "new")
    run("key", "remove", old, VMKEEP_PASSPHRASE="another one")

    with pytest.raises(RepositoryError, match="wrong passphrase"):
        run("repo", "stats", VMKEEP_PASSPHRASE_FILE=str(passphrase_file))
    recovery = run("key", "add", "--recovery", VMKEEP_PASSPHRASE="another one")["recovery_key"]
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"content!" * 1024)
    point = run("image", "import", str(disk), "--name", "x", VMKEEP_PASSPHRASE=recovery)["point"]
    run("image", "export", point, str(tmp_path / "out.raw"), VMKEEP_PASSPHRASE="another one")
    assert (tmp_path / "out.raw").read_bytes() == disk.read_bytes()


def test_without_a_terminal_nothing_asks_for_a_passphrase(passphrase_file):
    with pytest.raises(UsageError, match="passphrase is missing: set VMKEEP_PASSPHRASE or give"):
        run("repo", "init", "--encrypt")
    run("repo", "init", "--encrypt", VMKEEP_PASSPHRASE_FILE=str(passphrase_file))

    with pytest.raises(RepositoryError, match=r"is encrypted: set VMKEEP_PASSPHRASE .*in Airflow, the password of its"):
        run("point", "list")
    assert run("point", "list", "--passphrase-file", str(passphrase_file)) == []


def test_a_passphrase_file_that_the_world_can_read_is_refused(passphrase_file):
    passphrase_file.chmod(0o644)

    with pytest.raises(UsageError, match=r"passphrase file .* can be read by anyone"):
        run("repo", "init", "--encrypt", "--passphrase-file", str(passphrase_file))


def test_a_repository_without_encryption_has_no_keys():
    assert run("repo", "init")["id"]

    with pytest.raises(RepositoryError, match="not encrypted; it has no keys"):
        run("key", "list")


def test_a_list_of_keys_shows_times_by_the_clock_that_is_set(passphrase_file):
    run("repo", "init", "--encrypt", "--passphrase-file", str(passphrase_file))
    given = {"VMKEEP_PASSPHRASE_FILE": str(passphrase_file)}
    times = {slot["created"][:16].replace("T", " ") for slot in run("key", "list", **given)}

    shown = CliRunner().invoke(cli, ["key", "list"], env={**given, "VMKEEP_TIME_ZONE": "UTC"}, catch_exceptions=False)

    assert "created (UTC)" in shown.output
    assert all(time in shown.output for time in times)
    assert "+00:00" not in shown.output
