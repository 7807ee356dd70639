"""Completion: commands and options, and restore points and VMs from what the user's own catalog holds."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from vmkeep.cli.cmd_completion import answer_shell
from vmkeep.cli.completions import complete_points
from vmkeep.cli.main import cli
from vmkeep.errors import UsageError
from vmkeep.repository import create_repository

NO_NETWORK = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"):
        sys.stderr.write(f"asked: {event} {arguments}\\n")
        raise SystemExit(99)
sys.addaudithook(refuse)
from vmkeep.cli.main import main
sys.argv = ["vmkeep"]
main()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose catalog knows two VMs."""
    home = tmp_path_factory.mktemp("home")
    create_repository(str(home / "repository"))
    (home / "disk.raw").write_bytes(bytes(1 << 20))
    for name in ("web01", "web 02"):
        vmkeep(home, "image", "import", str(home / "disk.raw"), "--name", name)
    vmkeep(home, "point", "list")
    return home


def environment(home, **more):
    return os.environ | {"HOME": str(home), "VMKEEP_REPOSITORY": str(home / "repository")} | more


def vmkeep(home, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "vmkeep.cli.main", *arguments],
        env=environment(home), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def completed(home, line, **more):
    """The offers of bash behind a line, without network or other programs."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK],
        env=environment(home, _VMKEEP_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)) | more,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) in ((0, ""), (1, ""))
    return [offered.partition(",")[2] for offered in done.stdout.split()]


def test_commands_and_options_are_offered(home):
    assert completed(home, "vmkeep re") == ["repo", "report", "restore"]
    assert completed(home, "vmkeep point l") == ["list"]
    assert "--repository" in completed(home, "vmkeep point list --r")


def test_points_are_offered_by_vm_and_by_ref_though_the_repository_cannot_be_reached(home):
    refs = [point["ref"] for point in json.loads(vmkeep(home, "point", "list", "--json"))]

    offered = completed(home, "vmkeep point show ", VMKEEP_REPOSITORY="s3://not-there/repo")

    assert offered[0] == "latest:web01"
    assert sorted(offered[1:]) == sorted(refs)
    assert completed(home, f"vmkeep point show {refs[0][:-3]}") == [refs[0]]


def test_vms_are_offered_but_no_name_that_a_shell_would_take_apart(home):
    assert completed(home, "vmkeep point list --vm w") == ["web01"]


@pytest.mark.parametrize(
    "catalog", ["postgresql://nobody@db.invalid/vmkeep", "sqlite://", "sqlite:////dev/null", "no url"]
)
def test_a_catalog_that_is_no_file_of_the_user_is_not_asked(home, catalog):
    assert completed(home, "vmkeep point show ", VMKEEP_CATALOG=catalog) == []


def test_a_broken_configuration_file_is_no_reason_for_noise_at_the_prompt(home, tmp_path):
    (tmp_path / "config.toml").write_text("broken")

    assert completed(home, "vmkeep point show ", VMKEEP_CONFIG=str(tmp_path / "config.toml")) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"_VMKEEP_COMPLETE": "bash_complete"},
        {"_VMKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "vmkeep "},
        {"_VMKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "vmkeep ", "COMP_CWORD": "x"},
        {"_VMKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "vmkeep ", "COMP_CWORD": "-1"},
        {"_VMKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "vmkeep ", "COMP_CWORD": "9" * 5000},
        {"_VMKEEP_COMPLETE": "zsh_complete", "COMP_WORDS": "vmkeep ", "COMP_CWORD": ""},
        {"_VMKEEP_COMPLETE": "fish_complete", "COMP_WORDS": "vmkeep "},
        {"_VMKEEP_COMPLETE": "tcsh_complete", "COMP_WORDS": "vmkeep ", "COMP_CWORD": "1"},
        {"_VMKEEP_COMPLETE": "1", "COMP_WORDS": "vmkeep ", "COMP_CWORD": "1"},
    ],
)
def test_a_shell_that_asks_wrongly_is_told(monkeypatch, asked):
    for name in ("COMP_WORDS", "COMP_CWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UsageError, match="vmkeep completion"):
        answer_shell(cli, asked["_VMKEEP_COMPLETE"])


def test_a_word_that_is_no_number_ends_in_one_line(home):
    done = subprocess.run(
        [sys.executable, "-m", "vmkeep.cli.main"], capture_output=True, text=True, check=False,
        env=environment(home, _VMKEEP_COMPLETE="bash_complete", COMP_WORDS="vmkeep ", COMP_CWORD="x"),
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (UsageError.exit_code, "")
    assert len(done.stderr.splitlines()) == 1


def test_bash_takes_the_script(tmp_path):
    script = tmp_path / "vmkeep.bash"
    script.write_text(CliRunner().invoke(cli, ["completion", "bash"]).output)

    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {script} && complete -p vmkeep"], capture_output=True, text=True, check=True
    )

    assert "complete" in done.stdout


@pytest.mark.parametrize(
    ("shell", "sign"), [("zsh", "#compdef vmkeep"), ("fish", "complete --no-files --command vmkeep")]
)
def test_each_shell_gets_a_script_of_its_own(shell, sign):
    assert sign in CliRunner().invoke(cli, ["completion", shell]).output


def test_fish_cuts_no_help_at_a_comma():
    (split,) = re.findall(r"string split .*completion", CliRunner().invoke(cli, ["completion", "fish"]).output)
    assert split == 'string split --max 1 "," $completion'


def test_no_name_of_a_vm_begins_an_offer_of_its_own(tmp_path, monkeypatch):
    catalog = tmp_path / "catalog.db"
    odd = "a\nplain\n$(id)\t\x1b]0;x"
    with closing(sqlite3.connect(catalog)) as database, database:
        database.execute("CREATE TABLE vmkeep2_point (ref, vm_name, taken_at)")
        for ref in ("vm-1/20260102T030405Z-0a", "vm-1/$(touch pwned)"):
            database.execute("INSERT INTO vmkeep2_point VALUES (?, ?, ?)", (ref, odd, "2026-01-02"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{catalog}")

    (offered,) = complete_points(None, None, "vm")

    assert offered.value == "vm-1/20260102T030405Z-0a"
    assert offered.help.isprintable()


def completed_in_bash(home, *words):
    """The offers of the script itself, for words as bash takes a line apart; the last one is completed."""
    program = home / "vmkeep"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vmkeep.cli.main "$@"\n')
    program.chmod(0o700)
    script = CliRunner().invoke(cli, ["completion", "bash"]).output
    ask = """
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_vmkeep_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script + ask, "bash", str(program), *words],
        env=environment(home), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("vmkeep", "point", "sh"), ["show"]),
        (("vmkeep", "point", "show", "lat"), ["latest:web01"]),
        (("vmkeep", "point", "show", "latest", ":"), ["web01"]),
        (("vmkeep", "point", "show", "latest", ":", "w"), ["web01"]),
        (("vmkeep", "point", "show", '"latest:w'), ["latest:web01"]),
        (("vmkeep", "backup", "run", "name", ":", "w"), ["web01"]),
        (("vmkeep", "vm", "show", "name:w"), ["name:web01"]),
        (("vmkeep", "policy", "explain", "w"), ["web01"]),
    ],
)
def test_a_word_with_a_colon_is_completed_in_bash(home, words, offered):
    assert completed_in_bash(home, *words) == offered


def test_the_example_for_a_shell_works_in_a_home_without_folders(tmp_path):
    help_text = CliRunner().invoke(cli, ["completion", "--help"]).output
    lines = [line.strip().removeprefix("$ ") for line in help_text.splitlines() if "> ~/" in line]
    assert len(lines) == 2

    subprocess.run(
        ["bash", "--norc", "-ec", "vmkeep() { echo script; }\n" + "\n".join(lines)],
        env=os.environ | {"HOME": str(tmp_path)}, check=True,
    )  # fmt: skip

    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
