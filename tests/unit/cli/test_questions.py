"""Commands that take away what nobody can bring back: they look, say what would go, and ask, before they begin."""

from __future__ import annotations

import pytest

from tests.terminal import on_a_terminal
from tests.unit.cli.test_help import VERBS
from vmkeep.errors import CancelledError
from vmkeep.images.importing import import_images
from vmkeep.repository import create_repository, open_repository


@pytest.fixture
def point(monkeypatch, tmp_path):
    """A repository with one point; its ref."""
    location = str(tmp_path / "repository")
    monkeypatch.setenv("VMKEEP_REPOSITORY", location)
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    create_repository(location)
    image = tmp_path / "disk.raw"
    image.write_bytes(b"1" * 4096)
    with open_repository(location) as repository:
        return import_images(repository, [image], name="web").ref


def left(tmp_path):
    with open_repository(str(tmp_path / "repository")) as repository:
        return list(repository.point_refs())


def test_every_command_that_asks_can_also_be_told_to_show_only_what_it_would_do():
    options = {
        " ".join(path): {name for each in command.params for name in each.opts} for path, command in VERBS.items()
    }

    asking = {path for path, names in options.items() if "--yes" in names}

    assert asking == {"point delete", "repo prune", "restore accept", "restore undo"}
    assert {path for path in asking if "--dry-run" not in options[path]} == set()


def test_a_person_is_asked_after_the_plan_with_its_numbers_and_a_no_leaves_all_as_it_is(point, tmp_path):
    status, shown = on_a_terminal("point", "delete", "latest:web", "--last", columns=200, typed="n\n")

    assert shown.index("GOES") < shown.index("Delete 1 restore point for good? [y/N]")
    assert "vmkeep: the answer is no, so nothing was changed" in shown
    assert (status, left(tmp_path)) == (CancelledError.exit_code, [point])


def test_what_a_person_says_yes_to_is_done(point, tmp_path):
    status, shown = on_a_terminal("point", "delete", "latest:web", "--last", columns=200, typed="y\n")

    assert (status, left(tmp_path)) == (0, []), shown


def test_nobody_is_asked_on_a_terminal_about_a_plan_by_which_nothing_goes(point, tmp_path):
    status, shown = on_a_terminal("repo", "prune", columns=200)

    assert (status, left(tmp_path)) == (0, [point]), shown
    assert "[y/N]" not in shown
