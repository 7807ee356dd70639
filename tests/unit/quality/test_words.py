"""The expectations are one list: in the suite, in the catalog's SQL, in policies, and on the page of documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmkeep.catalog.questions import _QUESTIONS
from vmkeep.policy import field_of
from vmkeep.quality import SUITE

PAGE = Path(__file__).parents[3] / "docs" / "operations" / "proofs.md"
IDS = [one.id for one in SUITE]


def test_every_expectation_has_a_question_and_every_question_an_expectation():
    assert set(_QUESTIONS) == set(IDS)
    assert len(IDS) == len(set(IDS))


def test_a_policy_may_name_every_expectation_and_nothing_else():
    assert set(field_of(("quality", "fail"))["items"]["enum"]) == set(IDS)


def test_the_page_lists_every_expectation_with_its_severity_and_its_words():
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    for one in SUITE:
        assert f"| `{one.id}` | {one.severity} | {one.title} | {one.meaning} {one.remedy} |" in listed


def test_every_command_that_a_remedy_names_exists():
    from vmkeep.cli.main import cli

    for one in SUITE:
        for text in one.remedy.split("'")[1::2]:
            words = text.split()
            if words[0] == "vmkeep":
                command = cli
                for word in words[1:]:
                    command = command.get_command(None, word)
                    assert command is not None, text


@pytest.mark.parametrize("newest_good", [None, 600.0])
def test_a_vm_of_no_policy_is_said_to_lack_a_good_point_never_every_point(newest_good):
    unprotected = next(one for one in SUITE if one.id == "unprotected")
    row = {"vm_key": "vm", "ref": "", "value": newest_good, "bound": None, "detail": ""}
    assert "good restore point" in unprotected.words(row)
