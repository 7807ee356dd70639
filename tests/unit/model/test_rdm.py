"""The words that ask for the replacement of an RDM."""

from __future__ import annotations

import pytest

from vmkeep.errors import UsageError
from vmkeep.model.rdm import RDM_WORDS, RdmReplacement, rdm_choice


def test_every_word_is_read_as_it_is_listed():
    assert [
        (choice.replacement + (f":{choice.how}" if choice.how else "")) for choice in map(rdm_choice, RDM_WORDS)
    ] == [*RDM_WORDS]
    assert set(RdmReplacement) <= {*RDM_WORDS}


@pytest.mark.parametrize("word", ["", "clone", "lun:", "lun:thin", "disk:physical", "omit:virtual", "auto:virtual:x"])
def test_a_word_that_is_none_of_them_is_refused_with_the_list(word):
    with pytest.raises(UsageError, match=f"an RDM cannot become '{word}'; choose from placeholder, lun, lun:virtual"):
        rdm_choice(word)


@pytest.mark.parametrize(
    ("word", "modes"),
    [
        ("lun", (False, True)),
        ("auto:virtual", (False, False)),
        ("lun:physical", (True, True)),
        ("placeholder", (False, True)),
        ("disk:thick", (False, True)),
    ],
)
def test_a_new_rdm_has_the_mode_that_is_told_or_else_the_saved_one(word, modes):
    assert tuple(rdm_choice(word).is_physical(saved=saved) for saved in (False, True)) == modes
