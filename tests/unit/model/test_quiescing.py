"""One word asks for quiescing, and says what happens where it fails."""

from __future__ import annotations

import pytest

from vmkeep.errors import UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.point import Quiesce
from vmkeep.model.quiescing import OLDER_QUIESCE_CHOICES, QUIESCE_CHOICES, QuiesceRequest, parse_quiesce


@pytest.mark.parametrize(
    ("text", "level", "required"),
    [
        ("preferred", Quiesce.FILE_SYSTEM, False),
        ("required", Quiesce.FILE_SYSTEM, True),
        ("off", Quiesce.NONE, False),
        ("preferred:application", Quiesce.APPLICATION, False),
        ("preferred:file-system", Quiesce.FILE_SYSTEM, False),
        ("required:file-system", Quiesce.FILE_SYSTEM, True),
        ("file-system", Quiesce.FILE_SYSTEM, False),
        ("application", Quiesce.APPLICATION, False),
        ("none", Quiesce.NONE, False),
    ],
)
def test_a_text_of_this_or_an_older_program_says_level_and_strictness(text, level, required):
    assert parse_quiesce(text) == QuiesceRequest(level=level, required=required)


@pytest.mark.parametrize("text", QUIESCE_CHOICES)
def test_a_text_that_is_offered_is_written_as_it_was_read(text):
    assert str(parse_quiesce(text)) == text


def test_every_text_that_may_be_given_can_be_read():
    assert all(parse_quiesce(text) for text in (*QUIESCE_CHOICES, *OLDER_QUIESCE_CHOICES))


@pytest.mark.parametrize(
    "text", ["", "maybe", "Required", "required:", ":application", "required:none", "off:file-system"]
)
def test_another_text_is_refused_with_the_choices(text):
    with pytest.raises(UsageError, match="choose from preferred, required"):
        parse_quiesce(text)


def test_applications_cannot_be_required_because_vsphere_does_not_tell_of_them():
    with pytest.raises(UsageError, match="preferred:application"):
        parse_quiesce("required:application")
    with pytest.raises(UsageError, match="preferred:application"):
        BackupRequest(vm_selector="a", run="r", quiesce=Quiesce.APPLICATION, quiesce_required=True)


def test_nothing_cannot_be_required():
    with pytest.raises(UsageError, match="required and off"):
        BackupRequest(vm_selector="a", run="r", quiesce=Quiesce.NONE, quiesce_required=True)
