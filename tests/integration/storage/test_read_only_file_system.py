"""A real file system that is mounted read-only: what cannot be done there, and what can be asked."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.command_line import run_here
from tests.integration.storage.test_full_disk import disk
from vmkeep.errors import StoreReadOnlyError
from vmkeep.images import import_images
from vmkeep.repository import create_repository

__all__ = ["disk"]


@pytest.fixture(params=["folder", "behind SSH"])
def read_only(request, disk, tmp_path):
    """The location of a repository of two points, and their refs, on a disk that was mounted read-only meanwhile."""
    location = str(disk / "repository")
    if request.param == "behind SSH":
        request.getfixturevalue("ssh_home")
        location = request.getfixturevalue("ssh_server").location(disk / "repository")
    image = tmp_path / "image.raw"
    image.write_bytes(bytes(1 << 20))
    with create_repository(location) as repository:
        refs = [import_images(repository, [image], name="image").ref for _ in range(2)]
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return location, refs


def vmkeep(*arguments: str, code: int = 0) -> str:
    done = run_here(*arguments)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_repository_that_cannot_be_created_there_ends_by_that_code(read_only):
    location = f"{read_only[0]}-another"

    told = vmkeep("repo", "init", "--repository", location, code=StoreReadOnlyError.exit_code)

    assert re.search(f"nothing can be written below {location}, because .*file system is mounted read-only", told)


def test_a_prune_shows_there_what_would_go_and_does_nothing_without_dry_run(read_only):
    location, refs = read_only
    prune = "repo", "prune", "--keep-last", "1", "--repository", location

    plan = json.loads(vmkeep(*prune, "--dry-run", "--json"))["plan"]

    assert {each["ref"]: each["keep"] for each in plan["points"]} == {refs[0]: False, refs[1]: True}
    vmkeep(*prune, "--yes", code=StoreReadOnlyError.exit_code)


def test_a_deletion_shows_there_what_would_go_and_does_nothing_without_dry_run(read_only):
    location, refs = read_only
    delete = "point", "delete", refs[0], "--repository", location

    assert refs[0] in vmkeep(*delete, "--dry-run", "--json")
    vmkeep(*delete, "--yes", code=StoreReadOnlyError.exit_code)
