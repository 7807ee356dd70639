"""``vmkeep repo merge``: what a person and a script are told."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.sealed import store_file
from vmkeep.cli.main import cli
from vmkeep.repository import create_repository


@pytest.fixture
def location(tmp_path):
    repository = create_repository(str(tmp_path / "repository"))
    for number in range(5):
        store_file(repository, bytes([number + 1]) * 70_000, run=f"run-{number}")
    return repository.location


def run(*args):
    result = CliRunner().invoke(cli, ["repo", "merge", *args], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_dry_run_says_what_pays_and_changes_nothing(location):
    plan = json.loads(run("-r", location, "--dry-run", "--json"))

    assert len(plan["plan"]["sources"]) == plan["plan"]["segments"] == 5
    assert plan["merged"] == []
    assert "worth merging: 5 segments" in run("-r", location, "--dry-run")


def test_a_merge_reports_and_a_second_one_has_nothing_to_do(location):
    assert "merged 5 segments into 1" in run("-r", location)
    again = json.loads(run("-r", location, "--json"))

    assert again["plan"]["segments"] == 1
    assert again["merged"] == []
    assert "nothing is worth merging" in run("-r", location)
