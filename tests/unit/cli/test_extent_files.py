"""Lists of changes in files: any JSON form of them, of any size, in memory that does not grow with it."""

from __future__ import annotations

import json

import pytest

from vmkeep.cli import extent_files
from vmkeep.cli.extent_files import load_extents
from vmkeep.errors import UsageError
from vmkeep.model.extents import Extent

PAIRS = [[number * 1000, number + 1] for number in range(40)]
EXPECTED = [Extent(number * 1000, number * 1000 + number + 1) for number in range(40)]


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 18])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n", " \n\n"])
def test_a_list_is_read_whatever_its_white_space_and_wherever_a_piece_ends(tmp_path, monkeypatch, piece, indent, end):
    monkeypatch.setattr(extent_files, "_PIECE", piece)
    path = tmp_path / "changed.json"
    path.write_text(end + json.dumps(PAIRS, indent=indent) + end)

    assert load_extents(path) == EXPECTED


def test_pairs_in_any_order_make_a_normal_list(tmp_path):
    path = tmp_path / "changed.json"
    path.write_text("[[5000, 10], [0, 0], [0, 512], [100, 1000]]")

    assert load_extents(path) == [Extent(0, 1100), Extent(5000, 5010)]


@pytest.mark.parametrize("piece", [1, 3, 1 << 18])
@pytest.mark.parametrize(
    "text",
    ["", "x", "{}", "[1, 2]", "[[1, 2]", "[[1, 2],]", "[[1, 2]] x", "[[1, 2] [3, 4]]", "[[1, 2],, [3, 4]]", "[[1]]",
     "[[1, 2, 3]]", "[[-1, 2]]", "[[1, null]]", '[["a", 1]]', "[[[1, 2]]]", "[[1, 2]], [[3, 4]]", "[[1e3, 1]]"],
)  # fmt: skip
def test_anything_else_is_refused_with_the_files_name(tmp_path, monkeypatch, piece, text):
    monkeypatch.setattr(extent_files, "_PIECE", piece)
    path = tmp_path / "changed.json"
    path.write_text(text)

    with pytest.raises(UsageError, match=r"changed\.json: "):
        load_extents(path)


def test_an_empty_list_says_that_nothing_has_changed(tmp_path):
    path = tmp_path / "changed.json"
    path.write_text("[]")

    assert load_extents(path) == []


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "changed.json"
    path.write_bytes(b"[[0, 1], \xff]")

    with pytest.raises(UsageError, match=r"changed\.json: "):
        load_extents(path)
