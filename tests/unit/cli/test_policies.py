"""``vmkeep policy``: faults are told, every one, and a file with faults is never left out of a list."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import PolicyError
from vmkeep.policy.files import default_folder

SOUND = """\
name: {name}
selection: name:web*
window: {{start: 22:00, end: 06:00, time_zone: Europe/Berlin}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VMKEEP_POLICIES", str(tmp_path))
    for name in ("nightly", "weekly"):
        (tmp_path / f"{name}.yaml").write_text(SOUND.format(name=name))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli, ["policy", *map(str, arguments)])


def test_check_tells_every_fault_of_every_file_and_ends_with_an_exit_code_of_its_own(folder):
    (folder / "broken.yaml").write_text("nam: x\nquiesce: maybe\n")
    (folder / "worse.yaml").write_text("[")

    done = run("check")

    assert isinstance(done.exception, PolicyError)
    assert PolicyError.exit_code == 5
    assert str(done.exception).startswith("6 faults in 2 of 4 policy files")
    where = [line.removeprefix(f"{folder}/").split(": ")[0] for line in done.stdout.splitlines()]
    assert where == [*["broken.yaml:1:1"] * 4, "broken.yaml:2:10", "worse.yaml:2:1"]


def test_check_of_sound_files_ends_well(folder):
    done = run("check")

    assert (done.exit_code, done.stdout) == (0, "2 policy files, no fault\n")


def test_the_next_window_is_shown_by_its_own_clock(folder):
    shown = run("list").stdout

    assert len(re.findall(r" 20\d\d-\d\d-\d\d 22:00 Europe/Berlin +name:web", shown)) == 2


def test_what_a_site_has_put_beside_the_example_is_not_called_the_example(tmp_path, monkeypatch):
    shipped = (default_folder() / "example.yaml").read_text()
    monkeypatch.delenv("VMKEEP_POLICIES", raising=False)
    monkeypatch.setattr("vmkeep.flows.policies.default_folder", lambda: tmp_path)
    example = tmp_path / "example.yaml"

    def said():
        return run("list").stderr

    example.write_text(shipped)
    assert "the policies are the example that comes with vmkeep: set VMKEEP_POLICIES" in said()
    (tmp_path / "mine.yaml").write_text(SOUND.format(name="mine"))
    assert f"{example} is the example that comes with vmkeep, and counts: edit it, or remove it" in said()
    assert "the policies are" not in said()
    example.write_text(f"{shipped}# ours\n")
    assert said() == ""


@pytest.mark.parametrize("asked", [("check",), ("check", "--policies"), ("list", "--policies")], ids=" ".join)
def test_a_folder_without_policies_is_told_because_it_may_be_the_wrong_one(tmp_path, asked):
    (tmp_path / "notes.txt").write_text("")

    done = run(*asked, tmp_path)

    assert done.exit_code == 0
    assert f"{tmp_path}: there is no policy" in done.stderr


def test_check_takes_files_and_folders_and_a_missing_file_is_a_fault(folder, tmp_path):
    done = run("check", folder, tmp_path / "gone.yaml")

    assert str(done.exception).startswith("1 fault in 1 of 3 policy files")
    assert "gone.yaml:1:1: the file cannot be read" in done.stdout


def test_check_tells_a_script_line_and_column_of_each_fault(folder):
    (folder / "nightly.yaml").write_text(SOUND.format(name="nightly") + "quiesce: maybe\n")

    document = json.loads(run("check", "--json", folder / "nightly.yaml").stdout)

    ((fault,),) = [read["faults"] for read in document["files"]]
    assert (fault["line"], fault["column"]) == (4, 10)


def test_a_list_holds_files_with_faults_too(folder):
    (folder / "weekly.yaml").write_text("name: weekly\n")

    rows = json.loads(run("list", "--json").stdout)

    assert [(row["name"], row["faults"]) for row in rows] == [("nightly", 0), ("weekly", 2)]
    assert rows[0]["window"] == "22:00 to 06:00 Europe/Berlin"
    assert "2 faults" in run("list").stdout


def test_the_schema_is_printed_as_it_is_published():
    assert json.loads(run("schema").stdout)["title"] == "vmkeep backup policy"
