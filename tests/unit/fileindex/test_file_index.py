"""An index of files gives back what was put in, finds what a pattern means, and takes no stranger's word."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from vmkeep.errors import CorruptError, UsageError
from vmkeep.fileindex import Pattern, pack, parts, search
from vmkeep.model.guestfiles import FileEntry, FileKind

NOW = datetime(2026, 11, 27, 7, 8, 9, 123456, tzinfo=UTC)


def entry(path, **facts):
    return FileEntry(path=path, **{"kind": FileKind.FILE, "size": 5, "modified": NOW} | facts)


def indexed(*entries):
    return [part for part, _ in pack("disk0p1", entries)]


def paths(found):
    return [each.path for each in found]


_EARLY, _LATE = datetime(1800, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - the zone is drawn beside them
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(
            st.lists(names, min_size=1, max_size=4),
            st.sampled_from(FileKind),
            st.integers(0, 1 << 62),
            st.none() | st.datetimes(_EARLY, _LATE, timezones=st.just(UTC)),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_all_entries_come_back_as_they_were(listed):
    entries = [entry("/" + "/".join(way), kind=kind, size=size, modified=at) for way, kind, size, at in listed]

    found = [each for part in indexed(*entries) for each in search(part)]

    assert [(each.path, each.kind, each.size, each.modified) for each in found] == [
        (each.path, each.kind, each.size, each.modified) for each in entries
    ]
    assert {each.volume for each in found} <= {"disk0p1"}


def test_names_that_are_no_text_come_back_as_they_were():
    (part,) = indexed(entry("/caf\udce9\n"), entry("/x"))

    assert paths(search(part)) == ["/caf\udce9\n", "/x"]


def test_a_large_index_is_cut_into_parts(monkeypatch):
    monkeypatch.setattr(parts, "_MOST_ENTRIES", 10)
    listed = list(pack("v", (entry(f"/f{number}") for number in range(25))))

    assert [count for _, count in listed] == [10, 10, 5]
    assert sum(len(list(search(part))) for part, _ in listed) == 25


TREE = ["/a/report.txt", "/a/report.txt.bak", "/b/Report.TXT", "/report.txt/x", "/a/b/c/note", "/naïve", "/a*b"]


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("report.txt", ["/a/report.txt"]),
        ("report*", ["/a/report.txt", "/a/report.txt.bak"]),
        ("*.txt", ["/a/report.txt"]),
        ("/a/*", ["/a/report.txt", "/a/report.txt.bak", "/a/b/c/note"]),
        ("*/c/*", ["/a/b/c/note"]),
        ("a/b/c/note", ["/a/b/c/note"]),
        ("na?ve", ["/naïve"]),
        ("?", ["/report.txt/x"]),
        ("*", TREE),
        ("*o*t*", ["/a/report.txt", "/a/report.txt.bak", "/b/Report.TXT", "/a/b/c/note"]),
        ("a[*]b", []),
    ],
)
def test_patterns_mean_what_the_page_says(pattern, fitting):
    (part,) = indexed(*map(entry, TREE))

    assert paths(search(part, Pattern(pattern))) == fitting
    assert [path for path in TREE if Pattern(pattern).fits(path)] == fitting


def test_case_can_be_ignored():
    (part,) = indexed(*map(entry, TREE))

    assert paths(search(part, Pattern("REPORT.txt", ignore_case=True))) == ["/a/report.txt", "/b/Report.TXT"]


@given(st.text("ab*?", min_size=1, max_size=8), st.lists(st.text("ab", min_size=1, max_size=8), max_size=6))
@settings(max_examples=200, deadline=None)
def test_stars_and_marks_fit_as_a_plain_expression_does(pattern, listed):
    plain = re.compile(pattern.replace("*", ".*").replace("?", "."))
    (part,) = indexed(*(entry(f"/x/{name}") for name in listed), entry("/end"))

    expected = [f"/x/{name}" for name in listed if plain.fullmatch(name)] + (["/end"] if plain.fullmatch("end") else [])
    assert paths(search(part, Pattern(pattern))) == expected


def test_no_pattern_searches_for_ever():
    (part,) = indexed(entry("/" + "a" * 250 + "c"), *(entry(f"/{'ab' * 100}{number}") for number in range(100)))
    begun = time.process_time()

    assert paths(search(part, Pattern("*a" * 40 + "*b"))) == []

    assert time.process_time() - begun < 2


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_a_pattern_that_cannot_be_a_name_is_refused(text):
    with pytest.raises(UsageError):
        Pattern(text)


def forged(**head):
    facts = {"volume": "v", "entries": 1, "paths": 4} | head
    return zstandard.compress(json.dumps(facts).encode() + b"\n" + b"\0/a\0" + b"f" + bytes(16))


@pytest.mark.parametrize(
    "part",
    [
        b"", b"no part", forged(entries=2), forged(paths=5), forged(entries=-1), forged(entries="x"),
        forged(volume=None, entries=10**12), zstandard.compress(b"[]\n"), zstandard.compress(bytes(40 << 20)),
    ],
)  # fmt: skip
def test_a_part_that_contradicts_itself_is_refused(part):
    assert paths(search(forged())) == ["/a"]

    with pytest.raises(CorruptError):
        list(search(part, Pattern("a")))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_mangled_part_is_refused_or_read_and_nothing_else(data):
    (part,) = indexed(*map(entry, TREE))
    mangled = bytearray(part)
    for _ in range(data.draw(st.integers(1, 4))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(search(bytes(mangled[: data.draw(st.integers(0, len(mangled)))]), Pattern("*")))
    except CorruptError:
        pass
