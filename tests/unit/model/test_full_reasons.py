"""Reasons of full reads: each has words, each is counted, and a newer program's reason stops no reader."""

from __future__ import annotations

import pytest

from vmkeep.model.fullreason import FullReason, count_reasons
from vmkeep.model.job import from_plain, to_plain


@pytest.mark.parametrize("reason", FullReason)
def test_every_reason_has_words_of_its_own(reason):
    assert reason.why
    assert [other for other in FullReason if other.why == reason.why] == [reason]


def test_a_reason_of_a_newer_program_is_read_as_another_one():
    assert from_plain(FullReason, "a-reason-of-next-year") is FullReason.OTHER


@pytest.mark.parametrize("reason", FullReason)
def test_a_reason_survives_a_manifest(reason):
    assert from_plain(FullReason, to_plain(reason)) is reason


def test_disks_are_counted_by_reason_and_increments_are_not():
    reasons = [FullReason.RESIZED, None, FullReason.NO_POINT, FullReason.RESIZED]

    assert count_reasons(reasons) == {"no-point": 1, "resized": 2}
