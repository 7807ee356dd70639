"""Names that strangers chose reach a terminal in one spelling, whatever prints them."""

from __future__ import annotations

import pytest

from vmkeep.cli.filewords import shown_path
from vmkeep.cli.output import one_line, print_table


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


def test_names_that_begin_with_a_digit_stand_left_and_numbers_right(capsys):
    ref, longer = "4211f1d6-3b0c/20261126T101500Z-0a1b", "0a1b2c3d-3b0c-4f5e/20261126T101500Z-0a1b"
    print_table(("point", "size", "done"), [(ref, "1.5 GiB", "100 %"), (longer, "12.5 MiB", "5 %")], none="none")

    heading, _, *rows = capsys.readouterr().out.strip("\n").splitlines()
    assert heading == f" {'point'.ljust(len(longer))}       size    done"
    assert rows == [f" {ref.ljust(len(longer))}    1.5 GiB   100 %", f" {longer}   12.5 MiB     5 %"]
