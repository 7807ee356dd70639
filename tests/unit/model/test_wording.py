"""Numbers in sentences agree with their nouns and verbs, and sizes are as people read them."""

from __future__ import annotations

import pytest

from vmkeep.model.wording import agreeing, counted, counted_of, exact_size, named_apart, size, told_apart


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (1234, "1,234 entries")])
def test_a_noun_agrees_with_its_number(number, text):
    assert counted(number, "entry", "entries") == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 1, "1 of 1 point stays"),
        (1, 3, "1 of 3 points stays"),
        (0, 1, "0 of 1 point stay"),
        (2, 3, "2 of 3 points stay"),
    ],
)
def test_a_verb_agrees_with_the_part_and_a_noun_with_the_whole(part, whole, text):
    assert f"{counted_of(part, whole, 'point')} {agreeing(part, 'stays', 'stay')}" == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 B (1 byte)"), (1536, "1.5 KiB (1,536 bytes)"), (3 << 41, "6.0 TiB (6,597,069,766,656 bytes)")],
)
def test_sizes_are_binary_and_exact_where_two_could_look_alike(count, text):
    assert exact_size(count) == text
    assert text.startswith(size(count))


@pytest.mark.parametrize(
    ("count", "text"),
    [(1023, "1023 B"), (1024, "1.0 KiB"), (1 << 50, "1.0 PiB"), (3 << 49, "1.5 PiB"), (1 << 62, "4096.0 PiB")],
)
def test_a_size_is_in_the_largest_unit_that_it_fills(count, text):
    assert size(count) == text


def test_only_vms_of_one_name_have_their_marks_beside_it():
    assert told_apart({"vm-1": "twin", "vm-2": "twin", "vm-3": "web"}) == {
        "vm-1": "twin (vm-1)", "vm-2": "twin (vm-2)", "vm-3": "web",
    }  # fmt: skip
    runs = {1: ("web", "vm-3"), 2: ("web", "vm-3"), 3: ("twin", "vm-1"), 4: ("twin", "vm-2")}
    assert named_apart(runs) == {1: "web", 2: "web", 3: "twin (vm-1)", 4: "twin (vm-2)"}, "two runs of one VM"
