"""A scan looks at every file, or at every file that differs from an older point."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_memory import WHEN, MemoryFiles, file, folder
from vmkeep.errors import UnsupportedError
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.scanning import walking
from vmkeep.scanning.walking import ChosenFile, UnreadFolder, choose_files


def paths(chosen):
    return sorted(each.entry.path for each in chosen if isinstance(each, ChosenFile) and not each.unchanged)


def test_every_regular_file_is_chosen_and_nothing_else():
    pipe = FileEntry(path="/etc/pipe", kind=FileKind.PIPE, size=0, modified=WHEN)
    link = FileEntry(path="/link", kind=FileKind.SYMLINK, size=3, modified=WHEN, target="etc")
    files = MemoryFiles.of(file("/a"), folder("/etc"), file("/etc/b"), (pipe, b""), (link, b""))

    assert paths(choose_files(files)) == ["/a", "/etc/b"]


def test_a_file_with_several_names_is_chosen_once():
    files = MemoryFiles.of(file("/a", b"x", identity=7, links=2), file("/b", b"x", identity=7, links=2))

    assert len(paths(choose_files(files))) == 1


def test_a_folder_within_itself_does_not_make_the_walk_endless(monkeypatch):
    class Loop(MemoryFiles):
        def entries(self, path):
            yield folder(f"{path.rstrip('/')}/again", identity=identity)[0]

    identity = 5
    assert list(choose_files(Loop({}))) == []

    identity = None  # as on FAT, which tells none
    monkeypatch.setattr(walking, "_LONGEST_PATH", 100)
    with pytest.raises(UnsupportedError, match="lies too deep"):
        list(choose_files(Loop({})))


def test_folders_without_end_end_the_walk_aloud(monkeypatch):
    monkeypatch.setattr(walking, "MOST_FOLDERS", 10)
    files = MemoryFiles.of(*(folder(f"/{number}") for number in range(11)))

    with pytest.raises(UnsupportedError, match="more than 10 folders"):
        list(choose_files(files))


def test_a_damaged_folder_is_told_and_the_others_are_chosen():
    files = MemoryFiles.of(folder("/bad"), folder("/good"), file("/good/a"), damaged={"/bad"})

    chosen = list(choose_files(files))

    assert paths(chosen) == ["/good/a"]
    assert [each.path for each in chosen if isinstance(each, UnreadFolder)] == ["/bad"]


@pytest.mark.parametrize(
    "change",
    [
        {"size": 2},
        {"modified": WHEN + timedelta(seconds=1)},
        {"changed": WHEN + timedelta(microseconds=1)},
        {"created": WHEN},
        {"identity": 9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_file_that_differs_in_anything_is_chosen(change):
    older = MemoryFiles.of(file("/a", b"x", identity=1))
    entry, content = file("/a", b"x", identity=1)

    assert paths(choose_files(MemoryFiles.of((replace(entry, **change), content)), older)) == ["/a"]


def test_a_file_of_a_file_system_without_times_of_change_is_always_chosen():
    files = MemoryFiles.of(file("/a", b"x", changed=None), kind="vfat")

    assert paths(choose_files(files, files)) == ["/a"]


def test_files_in_a_folder_that_cannot_be_read_in_the_older_point_are_chosen():
    made = (folder("/a"), file("/a/b", b"x"))

    chosen = choose_files(MemoryFiles.of(*made), MemoryFiles.of(*made, damaged={"/a"}))

    assert paths(chosen) == ["/a/b"]


names = st.sampled_from(["/a", "/b", "/d/a", "/d/b", "/e/a"])
contents = st.dictionaries(names, st.tuples(st.integers(0, 2), st.integers(0, 2)))


@given(contents, contents)
def test_exactly_the_files_that_differ_from_the_older_point_are_chosen(now, before):
    def made(tree):
        folders = [folder("/d"), folder("/e")]
        return MemoryFiles.of(
            *folders,
            *(file(path, bytes(size), changed=WHEN + timedelta(days=day)) for path, (size, day) in tree.items()),
        )

    chosen = list(choose_files(made(now), made(before)))

    assert paths(chosen) == sorted(path for path in now if before.get(path) != now[path])
    assert len(chosen) == len(now)
