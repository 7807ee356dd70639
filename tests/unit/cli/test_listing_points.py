"""``vmkeep point list``: on any terminal, and with points among them that cannot be read."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.terminal import lines_on_a_terminal
from vmkeep.cli.main import cli
from vmkeep.cli.output import fitting, paragraphs
from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import create_repository

POINT = RestorePoint(
    id="0123456789abcdef", vm=VmIdentity(name="web", key="5021f3ab-0000-1111-2222-333344445555"),
    taken_at=datetime(2026, 11, 20, 12, tzinfo=UTC), run="r", mode_asked=BackupMode.ASIS,
    mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH, images=(),
)  # fmt: skip


@pytest.fixture
def repository(monkeypatch, tmp_path):
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    return create_repository(str(tmp_path / "repo"))


def test_a_terminal_of_80_columns_shows_every_ref_whole_on_a_line_of_its_own(repository):
    refs = [repository.seal(replace(POINT, id=f"{n:016}", run=f"r{n}")) for n in range(2)]

    lines = lines_on_a_terminal("point", "list", columns=80)

    assert [line for line in lines if line in refs] == refs
    assert max(map(len, lines)) <= 80
    assert sum("taken at (UTC): 2026-11-20 12:00:00" in line for line in lines) == 2


def test_a_wide_terminal_shows_a_table(repository):
    ref = repository.seal(POINT)

    lines = lines_on_a_terminal("point", "list", columns=220)

    assert any(line.split()[:1] == [ref] and "2026-11-20 12:00:00" in line for line in lines)


@pytest.mark.parametrize("length", [10, 250])
def test_on_a_pipe_every_point_is_one_line(repository, length):
    ref = repository.seal(replace(POINT, vm=VmIdentity(name="w" * length, key=f"image-{'k' * 140}")))

    output = CliRunner().invoke(cli, ["point", "list"], catch_exceptions=False).output

    assert any(ref in line and "w" * length in line for line in output.splitlines())


def test_paragraphs_break_between_cells_and_leave_out_empty_ones():
    rows = [["first", "one", "", "three"], ["a ref that is longer than the terminal", "x" * 30, "y", "z"]]

    assert list(paragraphs(["ref", "a", "b", ""], rows, width=20)) == [
        "first",
        "  a: one  three",
        "a ref that is longer than the terminal",
        "  a: " + "x" * 30,
        "  b: y  z",
    ]


def test_a_listing_tells_which_point_it_had_to_leave_out_and_shows_the_others(repository, tmp_path):
    good, bad = repository.seal(POINT), repository.seal(replace(POINT, id="bad", run="bad"))
    file = tmp_path / "repo" / "points" / bad
    file.write_bytes(file.read_bytes()[:-1])

    for command in (("point", "list"), ("catalog", "rebuild")):
        done = CliRunner().invoke(cli, [*command, "--json"])
        assert isinstance(done.exception, CorruptError)
        assert "1 of 2 restore points was left out" in str(done.exception)
        assert bad in done.stderr
        listed = json.loads(done.stdout)
        assert [entry["ref"] for entry in listed] == [good] if command[0] == "point" else listed["added"] == 1


def test_a_vm_without_a_point_is_said_to_have_none(repository):
    repository.seal(POINT)

    for also in ((), ("--json",)):
        done = CliRunner().invoke(cli, ["point", "list", "--vm", "wbe", *also])
        assert isinstance(done.exception, NotFoundError)
        assert "no restore point of a VM 'wbe'" in str(done.exception)
        assert done.stdout == ""  # the error's document comes instead
    assert json.loads(CliRunner().invoke(cli, ["point", "list", "--vm", "web", "--json"]).stdout)


def test_a_point_from_the_future_is_told_with_its_time(repository):
    taken_at = now() + timedelta(hours=2)
    ref = repository.seal(replace(POINT, taken_at=taken_at))

    done = CliRunner().invoke(cli, ["point", "list", "--json"], catch_exceptions=False)

    assert [entry["ref"] for entry in json.loads(done.stdout)] == [ref]
    assert ref in done.stderr
    assert f"in the future, at {taken_at:%Y-%m-%d %H:%M:%S} UTC" in done.stderr


def test_any_name_of_an_image_works_or_is_refused_before_anything_is_stored(repository, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"x" * 65536)
    names = {"a" * 144: 0, "a" * 145: 0, "ü" * 255: 0, " web ": 0, "%": 0, "~": 0, "../..": 0, "日本": 0, "-": 0,
             "": 2, "a" * 256: 2, "a\nb": 2, "a\x1b[2J": 2, "a\udcff": 2, "a\u2028b": 2}  # fmt: skip
    made = 0
    for name, code in names.items():
        done = CliRunner().invoke(cli, ["image", "import", str(disk), "--name", name, "--json"])
        if code:
            assert done.exception.exit_code == code, name
        else:
            made += 1
            ref = json.loads(done.stdout)["point"]
            shown = CliRunner().invoke(cli, ["point", "show", f"latest:{name}", "--json"], catch_exceptions=False)
            assert json.loads(shown.stdout)["ref"] == ref
    done = CliRunner().invoke(cli, ["point", "list", "--json"], catch_exceptions=False)
    assert len(json.loads(done.stdout)) == made
    assert list(Path(tmp_path / "repo").glob("runs/*")) == []


def test_an_image_whose_files_name_is_no_text_is_imported(repository, tmp_path):
    disk = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff.raw"))
    disk.write_bytes(b"x" * 65536)

    done = CliRunner().invoke(cli, ["image", "import", str(disk), "--name", "a"], catch_exceptions=False)

    assert done.exit_code == 0


def test_points_of_older_programs_without_a_host_are_listed_with_the_same_vm(repository):
    for number, host in enumerate((None, "4c4c4544-0000")):
        vm = replace(POINT.vm, moref="12", vcenter=host)
        at = POINT.taken_at + timedelta(minutes=number)
        repository.seal(replace(POINT, id=f"{number}" * 16, run=f"r{number}", taken_at=at, vm=vm))

    listed = CliRunner().invoke(cli, ["point", "list"]).output

    assert listed.count("web") == 2
    assert "None" not in listed
    assert "(12 at" not in listed


@pytest.mark.parametrize(
    ("width", "left"), [(80, "name power IP uuid"), (30, "name power IP"), (20, "name power"), (5, "name power")]
)
def test_a_narrow_terminal_does_without_the_less_important_columns_in_their_order(width, left):
    rows = [["web01", "running", "10.0.0.7", "4211f1d6-4a3c"]]

    headings, cells = fitting(("name", "power", "IP", "uuid"), rows, first_to_go=("uuid", "IP"), width=width)

    assert " ".join(headings) == left
    assert len(cells[0]) == len(headings)
