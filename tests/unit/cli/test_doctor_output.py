"""The doctor's answer has standard output for itself, whatever a package for Airflow prints."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from tests.command_line import run_here
from vmkeep.cli import cmd_doctor
from vmkeep.flows.doctor import Answer, Answers, State, Subject


def loud() -> Sequence[Subject]:
    """Set up logging to standard output and print, as Airflow does when it is imported."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, force=True)
    logging.getLogger("loud").info("logged by the import")
    print("printed by the import")

    def ask(answers: Answers) -> None:
        logging.getLogger("loud").warning("logged by a check")
        print("printed by a check")
        answers.add("noise", Answer(state=State.OK, text="fine"))

    return [Subject(about="Loud", names=("noise",), ask=ask)]


@pytest.fixture
def loud_package(monkeypatch):
    entry = SimpleNamespace(load=lambda: loud)
    monkeypatch.setattr(cmd_doctor, "metadata", SimpleNamespace(entry_points=lambda group: [entry]))


def test_one_json_document_is_all_that_stands_on_standard_output(loud_package):
    done = run_here("doctor", "--airflow", "--json")

    assert {check["about"] for check in json.loads(done.stdout)["checks"]} >= {"Loud"}
    assert "printed by the import" in done.stderr
    assert "printed by a check" in done.stderr
    assert "warning: logged by a check\n" in done.stderr, "in the command's own way"


def test_the_table_for_people_has_no_lines_of_others(loud_package):
    done = run_here("doctor", "--airflow")

    assert "Loud\n  OK " in done.stdout
    assert "by the import" not in done.stdout
    assert "by a check" not in done.stdout
