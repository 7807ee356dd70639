"""A list of any length is printed as its rows come, and looks the same as a short one."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cli.test_listing_points import POINT
from tests.unit.cli.test_listing_points import repository as a_repository
from vmkeep.cli import lengths, output
from vmkeep.cli.main import cli
from vmkeep.cli.output import print_json, print_json_list, print_table

repository = a_repository

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=5))
def test_a_list_that_is_printed_value_by_value_is_the_same_document(values):
    texts = []
    for show in (print_json, print_json_list):
        shown = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output, "_AT_ONCE", 2)
            patch.setattr(output.click, "echo", lambda text="", nl=True, shown=shown: shown.append(text + "\n" * nl))
            show(values)
        texts.append("".join(shown))

    assert json.loads(texts[1]) == values
    assert texts[1] == texts[0]


def test_nothing_is_printed_of_a_list_whose_values_are_no_data(capsys):
    with pytest.raises(TypeError):
        print_json_list([1, object()])

    assert capsys.readouterr().out == ""


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def test_columns_stand_under_their_headings_and_numbers_stand_right(capsys):
    print_table(
        ("point", "disks", "size", ""), [("abc/def", 1, "4.0 MiB", None), ("ü日本", 12, "12 B", "x")], none="none"
    )

    assert lines_of(capsys) == [
        "",
        " point     disks      size",
        " " + "─" * 29,
        " abc/def       1   4.0 MiB",
        " ü日本        12      12 B   x",
        "",
    ]


@pytest.mark.parametrize("rows", [[], iter(())])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_table_without_rows_is_a_sentence_and_no_bare_heading(capsys, monkeypatch, rows, is_terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    print_table(("point", "VM"), rows, none="there is no restore point")

    assert lines_of(capsys) == ["there is no restore point"]


def test_a_later_cell_that_is_longer_than_the_first_thousand_is_printed_whole(capsys):
    rows = [*(("a", "b") for _ in range(1000)), ("a" * 20, "b"), ("a", "b")]
    print_table(("x", "y"), rows, none="none")

    assert lines_of(capsys)[-4:] == [" a   b", f" {'a' * 20}   b", " a   b", ""]


def test_rows_are_not_kept_once_they_are_printed(monkeypatch):
    monkeypatch.setattr(output.click, "echo", lambda *_, **__: None)
    monkeypatch.setattr(output, "_AT_ONCE", 50)
    peaks = []
    for count in (200, 2000):
        tracemalloc.start()
        print_table(("x", "y"), ((str(number) * 40, "b") for number in range(count)), none="none")
        print_json_list({"x": str(number) * 40} for number in range(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 2 * peaks[0]


@pytest.mark.parametrize(("option", "shown"), [("--limit=2", 2), ("--limit=0", 3), ("--limit=3", 3)])
def test_the_newest_points_are_shown_and_the_older_ones_are_told_of(repository, option, shown):
    points = [
        replace(POINT, id=f"{number:016}", run=f"r{number}", taken_at=POINT.taken_at + timedelta(days=number))
        for number in range(3)
    ]
    refs = [repository.seal(point) for point in points]

    for also in ((), ("--json",)):
        done = CliRunner().invoke(cli, ["point", "list", option, *also], catch_exceptions=False)
        assert [ref for ref in refs if ref in done.stdout] == refs[-shown:]
        assert ("these are the newest 2; --limit 0 shows all" in done.stderr) == (shown < 3)
    assert len(json.loads(done.stdout)) == shown


def test_a_terminal_shows_a_part_of_a_long_list_and_says_so(repository, monkeypatch):
    monkeypatch.setattr(lengths, "ON_A_TERMINAL", 2)

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(lengths.sys, "stdout", Terminal())
    assert [lengths.shown_at_most(limit, as_json=False) for limit in (None, 0, 7)] == [2, None, 7]
    assert lengths.shown_at_most(None, as_json=True) is None
