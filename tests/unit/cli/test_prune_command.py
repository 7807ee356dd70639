"""``vmkeep repo prune`` as people and scripts see it."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import CorruptError, UsageError
from vmkeep.images.importing import import_images
from vmkeep.repository import create_repository, open_repository


@pytest.fixture(autouse=True)
def refs(monkeypatch, tmp_path):
    """A repository with three points of one image that has nothing in common with itself; their refs."""
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    create_repository(str(tmp_path / "repo"))
    image = tmp_path / "disk.raw"
    with open_repository(str(tmp_path / "repo")) as repository:
        found = []
        for number in range(1, 4):
            image.write_bytes(bytes([number]) * 307_200)
            found.append(import_images(repository, [image], name="web").ref)
        return found


def run(*arguments):
    done = CliRunner().invoke(cli, ["repo", "prune", *arguments], catch_exceptions=False, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def points(tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        assert repository.check(read_data=True) == []
        return sorted(repository.point_refs())


def test_a_dry_run_shows_the_plan_and_changes_nothing(tmp_path, refs):
    before = sorted((tmp_path / "repo").rglob("*"))

    shown = json.loads(run("--keep-last", "1", "--grace-hours", "0", "--dry-run", "--json"))

    assert [point["keep"] for point in shown["plan"]["points"]] == [False, False, True]
    assert shown["plan"]["condemned"]["packs"] > 0
    assert "report" not in shown
    assert [path for path in sorted((tmp_path / "repo").rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]
    assert "2 of 3 points go" in run("--keep-last", "1", "--grace-hours", "0", "--dry-run")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_who_cannot_be_asked_sees_the_plan_and_then_how_to_say_yes_and_nothing_goes(tmp_path, refs, arguments):
    told = CliRunner().invoke(cli, ["repo", "prune", "--keep-last", "1", "--grace-hours", "0", *arguments])

    assert isinstance(told.exception, UsageError)
    question = r"Forget 2 restore points, condemn \d packs \([\d.]+ \w+\), rewrite \d packs \([\d.]+ \w+\)\?"
    assert re.search(rf'asked here "{question}".*--yes', str(told.exception))
    assert ("2 of 3 points go" in told.stdout) is not bool(arguments)
    assert points(tmp_path) == sorted(refs)


def test_a_script_has_to_say_yes_also_to_a_plan_by_which_nothing_goes(tmp_path, refs):
    with pytest.raises(UsageError, match="asked here, so nothing was changed: add --yes"):
        run()
    assert points(tmp_path) == sorted(refs)


def test_points_go_and_their_space_is_given_back(tmp_path, refs):
    done = json.loads(run("--keep-last", "1", "--grace-hours", "0", "--yes", "--json"))

    assert done["report"]["points_forgotten"] == refs[:2]
    assert done["report"]["bytes_freed"] > 0
    assert points(tmp_path) == refs[2:]


def test_by_default_space_is_given_back_later(tmp_path, refs):
    done = json.loads(run("--keep-last", "1", "--yes", "--json"))

    assert done["report"]["points_forgotten"] == refs[:2]
    assert (done["report"]["packs_condemned"], done["report"]["packs_deleted"]) == (0, 0)
    assert points(tmp_path) == refs[2:]


def test_without_a_rule_no_point_goes(tmp_path, refs):
    assert "0 points forgotten" in run("--grace-hours", "0", "--yes")
    assert points(tmp_path) == sorted(refs)


def test_nothing_is_pruned_while_points_are_gone_that_nobody_forgot(tmp_path, refs):
    """Points were moved away by hand, and the next nightly backup made a new one."""
    points_folder = tmp_path / "repo" / "points"
    points_folder.rename(tmp_path / "elsewhere")
    with open_repository(str(tmp_path / "repo")) as repository:
        new = import_images(repository, [tmp_path / "disk.raw"], name="web").ref
    before = sorted(path for path in (tmp_path / "repo").rglob("*") if path.is_file())

    for arguments in (("--dry-run",), ("--yes", "--json"), ("--keep-last", "1", "--yes")):
        with pytest.raises(CorruptError, match=r"'web' \(3 points, sealed/.*put points/ back"):
            run("--grace-hours", "0", *arguments)
    check = CliRunner().invoke(cli, ["repo", "check"])

    assert check.exception.exit_code == 90
    assert "points of VM 'web' were sealed here and are gone, though no prune forgot them: 3 points" in check.output
    assert [path for path in sorted((tmp_path / "repo").rglob("*")) if path.is_file()] == before
    (folder,) = (tmp_path / "elsewhere").iterdir()
    for manifest in folder.iterdir():
        manifest.rename(points_folder / folder.name / manifest.name)
    run("--grace-hours", "0", "--yes")
    assert points(tmp_path) == sorted([*refs, new])
