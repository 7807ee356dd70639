"""Names that strangers chose reach a terminal in one spelling, whatever prints them."""

from __future__ import annotations

import pytest

from vmkeep.cli.filewords import shown_path
from vmkeep.cli.output import one_line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bad\udcff\udcfeutf", r"bad\xff\xfeutf"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("bidi\u202egnp.exe", r"bidi\u202egnp.exe"),
        ("half\ud83d", r"half\ud83d"),
    ],
)
def test_a_line_and_a_listing_spell_a_name_alike(name, shown):
    assert (one_line(name), shown_path(name)) == (shown, shown)
