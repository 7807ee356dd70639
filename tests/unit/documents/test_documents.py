"""Where a character of a text stands in the file, however the text is written."""

import pytest

from vmkeep.documents import read_document


@pytest.mark.parametrize(
    ("source", "at", "where"),
    [
        ("a: name:web and (\n", 9, (1, 13)),
        ("a: 'name:it''s and ('\n", 10, (1, 16)),
        ('a: "name:web and ("\n', 9, (1, 14)),
        ("a: >-\n  name:web\n  and (\n", 9, (3, 3)),
        ("a: |\n  name:web\n  and (\n", 13, (3, 7)),
        ("a: name:web\n   and (\n", 9, (2, 4)),
        ("a: name:web and (\n", 14, (1, 18)),
        ("a:\n  - name:\u00fc\u00fc and (\n", 8, (2, 13)),
        ('a: "na\\x6de:web and ("\n', 9, (1, 4)),
        ("a: 12\n", 1, (1, 4)),
    ],
)
def test_a_fault_inside_a_text_is_pointed_at_as_exactly_as_the_text_allows(source, at, where):
    document = read_document(source)
    path = ("a", 0) if "- " in source else ("a",)
    place = document.place_within(path, at)
    assert (place.line, place.column) == where
