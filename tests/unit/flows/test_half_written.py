"""A VM stays marked as partly written until later restores have written every disk that was left in the middle."""

from __future__ import annotations

import pytest

from vmkeep.flows.half_written import incomplete_words, still_partly_written, with_run, without_run

SYSTEM, DATA = 2000, 2001
PLANNED = {"both": frozenset({SYSTEM, DATA}), "data": frozenset({DATA}), "forgotten": None}


@pytest.mark.parametrize(
    ("runs", "written", "whole", "left"),
    [
        (["both"], {SYSTEM, DATA}, True, []),
        (["both"], {SYSTEM}, False, ["both"]),
        (["data", "both"], {DATA}, False, ["both"]),
        (["forgotten"], {DATA}, False, ["forgotten"]),
        (["forgotten", "data"], {SYSTEM, DATA}, True, []),
    ],
)
def test_only_a_restore_that_writes_all_disks_of_a_run_ends_the_doubt_about_it(runs, written, whole, left):
    assert still_partly_written(runs, PLANNED.__getitem__, frozenset(written), whole=whole) == left


def test_each_run_is_noted_once_and_named_in_the_warning():
    noted = with_run(with_run(with_run("", "a"), "b"), "a")

    assert (noted, without_run(noted, "a")) == ("a b", "b")
    assert "the restore of run b over" in incomplete_words("b")
    assert "the restores of runs a, b over" in incomplete_words(noted)
