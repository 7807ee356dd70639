"""A machine whose folder for temporary files is full: each program that needs it says so, and names the remedy."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.repository.test_index import FRAMER, put_segments
from vmkeep.blobs.wrappers.timetables import timetable_for
from vmkeep.errors import StoreFullError, TransientError, UsageError
from vmkeep.repository.index import index as indexes
from vmkeep.repository.index import segmentloader
from vmkeep.repository.index.index import Index
from vmkeep.testing import MemoryStore
from vmkeep.vddk.config import open_config, state_folder


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A file system of two pages for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=20", "tmpfs", folder], check=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def nowhere(monkeypatch):
    """A machine where no folder for temporary files can be written."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])


def fill(folder: Path) -> None:
    """Leave no room for a byte."""
    with (folder / "something else").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(os.sysconf("SC_PAGESIZE")))


def fill_names(folder: Path) -> None:
    """Leave no room for another file or folder."""
    with suppress(OSError):
        for number in range(100):
            (folder / f"empty {number}").touch()


@pytest.fixture
def merged(monkeypatch):
    """A store with index segments that are merged when they are opened, in a temporary file."""
    monkeypatch.setattr(indexes, "_IN_MEMORY", 0)
    store = MemoryStore()
    put_segments(store, 8, 200, random.Random(1))
    return store


@pytest.fixture
def large(monkeypatch):
    """A store with an index segment that is too large to be read at each opening."""
    monkeypatch.setattr(segmentloader, "_VERIFIED", 100)
    store = MemoryStore()
    put_segments(store, 1, 1000, random.Random(1))
    return store


def open_index(store: MemoryStore) -> None:
    """Open an index without a cache for its segments."""
    Index(store, FRAMER).refresh()


USERS = {
    "VDDK's settings": lambda ask: open_config().__enter__(),
    "a merged index": lambda ask: open_index(ask.getfixturevalue("merged")),
    "a large segment": lambda ask: open_index(ask.getfixturevalue("large")),
}
"""Each writes a temporary file."""


@pytest.mark.parametrize("full", [fill, fill_names])
@pytest.mark.parametrize("user", USERS)
def test_a_full_folder_for_temporary_files_is_named_with_the_remedy(temporary, full, user, request):
    full(temporary)

    with pytest.raises((TransientError, StoreFullError)) as caught:
        USERS[user](request)

    assert f"{temporary}" in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "TMPDIR" in str(caught.value)


@pytest.mark.parametrize("user", USERS)
def test_a_machine_without_a_folder_for_temporary_files_is_told(nowhere, user, request):
    with pytest.raises(TransientError, match="TMPDIR"):
        USERS[user](request)


def test_a_file_in_the_place_of_vddks_state_is_told(temporary):
    (temporary / f"vmkeep-vddk-{os.getuid()}").touch()

    with pytest.raises(UsageError, match="TMPDIR"):
        state_folder()


@pytest.mark.parametrize("full", [fill, fill_names])
def test_a_rate_limit_holds_for_the_process_where_no_file_can_be_shared(temporary, full, caplog):
    full(temporary)

    line = timetable_for("repository")

    assert [line.book(1.0, earliest=5.0) for _ in range(2)] == [5.0, 6.0]
    assert "for this process alone" in caplog.text


def test_a_rate_limit_holds_for_the_process_where_no_file_can_be_made(nowhere, caplog):
    assert timetable_for("repository").book(1.0, earliest=5.0) == 5.0
    assert "for this process alone" in caplog.text
