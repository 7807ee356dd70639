"""However a command ends: one line, one exit code, one JSON document, and never a traceback that nobody asked for."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vmkeep.cli.failures import SYSTEM, UNEXPECTED, ending_of
from vmkeep.cli.main import READER_LEFT
from vmkeep.cli.output import LineFormat, print_table
from vmkeep.errors import CorruptError, StoreError, UsageError
from vmkeep.repository import create_repository

NAME = "Bücher \N{GRINNING FACE} \N{CJK UNIFIED IDEOGRAPH-4E2D}"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def vmkeep(home):
    """Run the command line as a person does, in a home of its own."""

    def run(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
        locale = ("LC_", "LANG", "PYTHON")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(locale)}
        return subprocess.run(
            [sys.executable, "-m", "vmkeep.cli.main", *arguments],
            env=inherited | {"HOME": str(home), "VMKEEP_REPOSITORY": str(home / "repository")} | environment,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="surrogateescape",
            check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def stored(vmkeep, home):
    """The ref of the one point in a repository, of a VM whose name takes more than ASCII."""
    create_repository(str(home / "repository"))
    (home / "disk.raw").write_bytes(bytes(1 << 20))
    done = vmkeep("image", "import", str(home / "disk.raw"), "--name", NAME, "--json", PYTHONUTF8="1")
    return json.loads(done.stdout)["point"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("point", "files", "get", "latest:a", "disk0:/a", "-"),
        ("point", "boot", "latest:a", "--serial"),
        ("point", "list", "--json"),
        ("key", "add", "--recovery"),
        ("key", "rotate", "5f3a", "--recovery"),
        ("repo", "init", "-r", "new", "--encrypt"),
    ],
    ids=["file", "serial port", "document", "new key", "other key", "first key"],
)
def test_data_that_would_go_to_a_closed_standard_output_are_refused_before_anything_is_done(home, arguments):
    command = [sys.executable, "-m", "vmkeep.cli.main", *arguments]

    done = subprocess.run(
        command, cwd=home, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        preexec_fn=lambda: os.close(1), env=os.environ | {"HOME": str(home)},
    )  # fmt: skip

    assert done.returncode == UsageError.exit_code
    assert "standard output is closed" in only_line(done.stderr)
    assert not (home / "new").exists()


def test_text_that_went_to_a_closed_standard_output_is_said_to_be_lost(home):
    for arguments, lost in ((("config", "show"), True), (("nonsense",), False)):
        done = subprocess.run(
            [sys.executable, "-m", "vmkeep.cli.main", *arguments],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            preexec_fn=lambda: os.close(1), env=os.environ | {"HOME": str(home)},
        )  # fmt: skip

        assert done.returncode == (0 if lost else UsageError.exit_code)
        assert ("is lost" in only_line(done.stderr)) is lost


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense", "--json"),
        ("repo", "nonsense", "--json"),
        ("point", "list", "--no-such-option", "--json"),
        ("point", "show", "--json"),
        ("repo", "init", "--block-size", "large", "--json"),
        ("repo", "init", "--json", "--compression", "best"),
        ("--no-such-option", "--json"),
        ("point", "list", "--json", "--vm"),
        ("point", "show", "one", "two", "--json"),
        ("point", "list", "--no-such-option"),
    ],
)
def test_what_the_option_parser_refuses_is_a_line_and_with_json_a_document(vmkeep, arguments):
    done = vmkeep(*arguments)

    assert done.returncode == 2
    assert only_line(done.stderr).startswith("vmkeep: ")
    assert "--help" in done.stderr
    if "--json" in arguments:
        document = json.loads(done.stdout)
        assert (document["class"], document["recovery"]) == ("UsageError", "stop")
        assert document["error"]
    else:
        assert done.stdout == ""


def test_an_error_of_ours_is_a_line_and_with_json_a_document(vmkeep):
    done = vmkeep("point", "list", "--json", "-r", "/no/such/folder")

    assert done.returncode == 60
    assert json.loads(done.stdout)["class"] == "RepositoryError"
    assert only_line(done.stderr).startswith("vmkeep: ")


def test_a_command_that_found_damage_prints_one_document(vmkeep, stored, home, tmp_path):
    shutil.copytree(home / "repository", tmp_path / "repository")
    for pack in (path for path in (tmp_path / "repository" / "packs").rglob("*") if path.is_file()):
        pack.unlink()

    done = vmkeep("repo", "check", "--json", "-r", str(tmp_path / "repository"))

    assert done.returncode == CorruptError.exit_code
    assert json.loads(done.stdout)["healthy"] is False


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "cp437:strict"},
    ],
)
def test_a_terminal_that_lacks_characters_gets_the_rest_and_no_traceback(vmkeep, stored, environment):
    listed = vmkeep("point", "list", **environment)
    shown = vmkeep("point", "show", stored, **environment)
    refused = vmkeep("point", "show", f"latest:{NAME}!", **environment)

    assert (listed.returncode, listed.stderr) == (0, "")
    assert "cher" in listed.stdout
    assert (shown.returncode, shown.stderr) == (0, "")
    assert stored in shown.stdout
    assert refused.returncode == 10
    assert only_line(refused.stderr).startswith("vmkeep: ")


def test_an_argument_that_is_no_text_is_refused_in_one_line(vmkeep, stored):
    done = vmkeep("point", "show", "latest:\udcff\udcfe")

    assert done.returncode in (UsageError.exit_code, 10)
    assert only_line(done.stderr).startswith("vmkeep: ")


@pytest.mark.parametrize("arguments", [("point", "list"), ("point", "list", "--json"), ("point", "show", "--help")])
def test_a_reader_that_leaves_ends_the_command_without_a_word(vmkeep, stored, arguments):
    reader, writer = os.pipe()
    os.close(reader)

    done = vmkeep(*arguments, stdout=writer)

    os.close(writer)
    assert (done.returncode, done.stderr) == (READER_LEFT, "")


def test_output_that_finds_no_room_is_told(vmkeep, stored):
    with Path("/dev/full").open("w") as full:
        done = vmkeep("point", "list", stdout=full.fileno())

    assert done.returncode == SYSTEM
    assert only_line(done.stderr) == "vmkeep: No space left on device"


def test_a_command_needs_no_standard_streams(stored, home):
    script = f"exec {sys.executable} -m vmkeep.cli.main point list -r {home / 'repository'} <&- >&- 2>&-"

    assert subprocess.run(["sh", "-c", script], env=os.environ | {"HOME": str(home)}, check=False).returncode == 0


def test_what_nobody_expected_is_one_line_that_says_where_to_report_it():
    ending = ending_of(KeyError("moref"))

    assert ending.exit_code == UNEXPECTED
    assert "report it" in ending.line
    assert "-v" in ending.line
    assert ending.traced


def test_what_the_operating_system_refused_names_the_file():
    ending = ending_of(PermissionError(13, "Permission denied", "/srv/list"))

    assert (ending.line, ending.exit_code) == ("/srv/list: Permission denied", SYSTEM)


def test_a_secret_that_is_no_text_is_not_repeated():
    with pytest.raises(UnicodeEncodeError) as caught:
        "s3cret \udcff".encode()

    assert "s3cret" not in ending_of(caught.value).line


def test_an_error_of_ours_is_never_traced():
    assert not ending_of(StoreError("x")).traced


def test_a_name_cannot_write_lines_of_its_own_into_the_log():
    record = logging.LogRecord("vmkeep", logging.WARNING, __file__, 1, "VM %s", ("a\nerror: b\x1b[31m",), None)

    assert LineFormat(names=False).format(record) == "warning: VM a error: b\\x1b[31m"


def test_a_name_in_a_table_cannot_steer_the_terminal(capsys):
    print_table(["VM"], [["web\x1b[2J\n01"]], none="none")

    assert "web\\x1b[2J 01" in capsys.readouterr().out
