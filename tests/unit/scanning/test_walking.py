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
        def entries(self, path, on_bad=None):
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


@pytest.mark.parametrize("has_prints", [True, False])
def test_a_file_with_another_content_is_chosen_though_its_size_and_all_its_times_are_the_same(has_prints):
    older = MemoryFiles.of(file("/a", b"good", identity=1), file("/b", b"same", identity=2), has_prints=has_prints)
    newer = MemoryFiles.of(file("/a", b"evil", identity=1), file("/b", b"same", identity=2), has_prints=has_prints)

    assert paths(choose_files(newer, older)) == ["/a"]


def test_a_file_whose_bytes_are_the_same_is_not_chosen_whatever_its_times_say():
    entry, content = file("/a", b"x", identity=1)
    touched = replace(entry, modified=WHEN + timedelta(days=1), changed=None, identity=9)

    assert paths(choose_files(MemoryFiles.of((touched, content)), MemoryFiles.of((entry, content)))) == []


@pytest.mark.parametrize("later", [{}, {"modified": WHEN + timedelta(days=1)}])
def test_a_file_that_no_scan_can_read_is_left_out_only_if_it_looks_the_same_and_still_cannot_be_read(later):
    class Encrypted(MemoryFiles):
        def open(self, path):
            raise UnsupportedError(f"{path} is encrypted")

    entry, content = file("/a", b"x", identity=1)
    older, now = Encrypted.of((entry, content)), (replace(entry, **later), content)

    assert paths(choose_files(Encrypted.of(now), older)) == (["/a"] if later else [])
    assert paths(choose_files(MemoryFiles.of(now), older)) == ["/a"]


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
            *folders, *(file(path, bytes([kind]) * size, changed=WHEN) for path, (size, kind) in tree.items())
        )

    chosen = list(choose_files(made(now), made(before)))

    def content(tree, path):
        size, kind = tree[path]
        return bytes([kind]) * size

    differ = [path for path in now if path not in before or content(now, path) != content(before, path)]
    assert paths(chosen) == sorted(differ)
    assert len(chosen) == len(now)
