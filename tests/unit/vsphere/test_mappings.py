"""``OLD=NEW`` is read by the names that are known; nothing in a name has to be escaped."""

from __future__ import annotations

import pytest

from vmkeep.errors import AmbiguousError, NotFoundError, UsageError
from vmkeep.vsphere.mappings import take_apart


def taken(*texts: str, known: tuple[str, ...] = ("VM Network", "Network adapter 1")) -> dict[str, str]:
    return take_apart(texts, known, what="--network", form="OLD=NEW", kind="network", candidates="it has these")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("VM Network", "Backup Network"),
        ("a=b", "c"),
        ("a", "b=c"),
        ("=", "="),
        ('say "hi" [x]', "it's [NAS [prod]]"),
        ("a=b=c", "d=e=f"),
        (" blank ", " blank "),
    ],
)
def test_names_are_taken_as_they_are(old, new):
    assert taken(f"{old}={new}", known=(old, "another")) == {old: new}


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        (["VM Network"], UsageError, "OLD=NEW"),
        (["VM Network="], UsageError, "nothing stands after"),
        (["=x"], NotFoundError, "it has these"),
        (["vm network=x"], NotFoundError, "has no network 'vm network'; it has these"),
        (["VM Network=x", "VM Network=y"], UsageError, "choose one"),
    ],
)
def test_a_mapping_that_says_nothing_clear_is_refused(texts, error, words):
    with pytest.raises(error, match=words):
        taken(*texts)


def test_a_text_that_can_be_read_in_two_ways_is_not_guessed():
    with pytest.raises(AmbiguousError, match="'a' to 'b=c' or 'a=b' to 'c'"):
        taken("a=b=c", known=("a", "a=b"))


def test_the_same_mapping_twice_is_one():
    assert taken("VM Network=x", "VM Network=x") == {"VM Network": "x"}
