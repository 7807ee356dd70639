"""``vmkeep repo copy``, ``repo check --slice`` and ``repo repair``, as people and scripts call them."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

from tests.sealed import CHEAP, PASSPHRASE
from vmkeep.cli.main import cli
from vmkeep.errors import CorruptError, NotFoundError, RepositoryError, UsageError
from vmkeep.repository import open_repository
from vmkeep.repository.unlock import slots

MIB = 1 << 20


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setattr(slots, "COST", CHEAP)
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    for name in ("PASSPHRASE", "PASSPHRASE_FILE", "SECOND_PASSPHRASE", "SECOND_PASSPHRASE_FILE"):
        monkeypatch.delenv(f"VMKEEP_{name}", raising=False)


def run(*arguments, json_too=True, **environment):
    given = [*arguments, "--json"] if json_too else list(arguments)
    done = CliRunner().invoke(cli, given, catch_exceptions=False, standalone_mode=False, env=environment)
    if done.exception:
        raise done.exception
    return json.loads(done.output) if json_too else done.output


def failing(*arguments, **environment):
    """Run a command that finds damage; return its document."""
    done = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False, env=environment)
    assert isinstance(done.exception, CorruptError)
    return json.loads(done.output)


@pytest.fixture
def second(tmp_path):
    location = str(tmp_path / "second")
    run("repo", "init", "--encrypt", VMKEEP_REPOSITORY=location, VMKEEP_PASSPHRASE=PASSPHRASE)
    file = tmp_path / "second-passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    file.chmod(0o600)
    return ["--to", location, "--second-passphrase-file", str(file)]


@pytest.fixture
def points(tmp_path):
    """Two points of one image and one of another."""
    run("repo", "init")
    disk = tmp_path / "disk.raw"
    made = []
    for name, seed in (("web", 1), ("web", 2), ("db", 3)):
        disk.write_bytes(random.Random(seed).randbytes(MIB))
        made.append(run("image", "import", str(disk), "--name", name)["point"])
    return made


def test_points_are_chosen_by_ref_vm_or_age(points, second):
    first, last, other = points

    def planned(*choice):
        return [point["ref"] for point in run("repo", "copy", *choice, *second, "--dry-run")["points"]]

    assert planned(first) == [first]
    assert planned("--vm", "web") == [first, last]
    assert planned("--vm", "image-web", "--latest") == [last]
    assert sorted(planned("--latest")) == sorted([last, other])
    assert sorted(planned("--all")) == sorted(points)
    with pytest.raises(NotFoundError, match="no restore point of a VM 'mail'"):
        planned("--vm", "mail")
    for wrong in ((), (first, "--all"), ("--all", "--latest")):
        with pytest.raises(UsageError, match="choose the points in one way"):
            planned(*wrong)


def test_copies_are_made_once_and_need_the_second_passphrase(points, second):
    copied = run("repo", "copy", "--all", *second, "--verify", "all")
    assert {point["state"] for point in copied["points"]} == {"copied"}
    again = run("repo", "copy", "--all", *second, json_too=False)
    assert again.count("present") == 3
    with pytest.raises(RepositoryError, match="VMKEEP_SECOND_PASSPHRASE or give --second-passphrase-file"):
        run("repo", "copy", "--all", *second[:2])
    listed = run("point", "list", VMKEEP_REPOSITORY=second[1], VMKEEP_PASSPHRASE=PASSPHRASE)
    assert sorted(entry["ref"] for entry in listed) == sorted(points)


def test_a_copy_brings_a_suspicion_and_later_its_end(points, second, tmp_path):
    first = points[0]
    with open_repository(str(tmp_path / "repo")) as repository:
        repository.marks.suspect(first, "Hard disk 1", reason="tracking lied")

    def there():
        listed = run("point", "list", VMKEEP_REPOSITORY=second[1], VMKEEP_PASSPHRASE=PASSPHRASE)
        return next(point["suspicion"] for point in listed if point["ref"] == first)

    run("repo", "copy", first, *second)
    assert there()["reason"] == "tracking lied"

    run("point", "trust", first, "--reason", "compared")
    run("repo", "copy", "--latest", *second)  # the marks of points that are not chosen come, too
    assert there() is None


def test_damage_is_checked_marked_and_healed_from_the_command_line(points, second, tmp_path):
    run("repo", "copy", "--all", *second)
    pack = max((tmp_path / "repo" / "packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    pack.chmod(0o600)
    blob = bytearray(pack.read_bytes())
    blob[len(blob) // 2] ^= 8
    pack.write_bytes(blob)
    assert run("repo", "check")["healthy"]

    parts = [CliRunner().invoke(cli, ["repo", "check", "--slice", f"{k}/2", "--json"]).output for k in (1, 2)]
    assert [json.loads(part.splitlines()[0] if "healthy" not in part else part[: part.rindex("}") + 1])["healthy"]
            for part in parts].count(False) >= 1  # fmt: skip
    assert not failing("repo", "check", "--read-data")["healthy"]
    marked = failing("repo", "repair", "points")
    assert len(marked["marked"]) == 1
    healed = run("repo", "repair", "heal", "--from", *second[1:])
    assert (healed["lost"], len(healed["packs_condemned"])) == (0, 1)
    assert run("repo", "repair", "points")["cleared"] == marked["marked"]
    assert run("repo", "check", "--read-data")["healthy"]
    assert "needed no more" not in run("repo", "repair", "heal", json_too=False)


def test_an_index_is_made_again_from_the_command_line(points, tmp_path):
    for segment in (tmp_path / "repo" / "index").iterdir():
        segment.unlink()

    assert "would be listed" in run("repo", "repair", "index", "--dry-run", json_too=False)
    assert run("repo", "repair", "index")["entries"]
    assert run("repo", "check")["healthy"]


def test_a_slice_and_all_data_exclude_each_other_and_a_check_says_what_it_read(points):
    with pytest.raises(UsageError, match="leave out --slice"):
        run("repo", "check", "--read-data", "--slice", "1/2")
    with pytest.raises(UsageError, match="write k/n"):
        run("repo", "check", "--slice", "5/2")
    assert "data of slice 2/2 re-read" in run("repo", "check", "--slice", "2/2", json_too=False)
    assert "re-read" in run("repo", "check", "--slice", "today/30", json_too=False)
