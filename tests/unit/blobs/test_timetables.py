"""The slots of a timetable never overlap, whether threads book them or processes that share a file."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise

import pytest

from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.blobs.wrappers.timetables import OwnTimetable, SharedTimetable, timetable_for
from vmkeep.testing import MemoryStore

_BOOK = """
import sys
from pathlib import Path
from vmkeep.blobs.wrappers.timetables import SharedTimetable
timetable = SharedTimetable(Path(sys.argv[1]))
print(*[timetable.book(1.0, earliest=5.0) for _ in range(300)])
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_bookings_follow_each_other_and_leave_out_what_was_not_used(kind, tmp_path):
    timetable = OwnTimetable() if kind == "own" else SharedTimetable(tmp_path / "line")

    assert timetable.book(2.0, earliest=10.0) == 10.0
    assert timetable.book(1.0, earliest=10.5) == 12.0
    assert timetable.book(1.0, earliest=50.0) == 50.0
    assert timetable.book(1.0, earliest=20.0) == 51.0


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_threads_never_get_the_same_time(kind, tmp_path):
    timetable = OwnTimetable() if kind == "own" else SharedTimetable(tmp_path / "line")
    booked: list[float] = []
    threads = [
        threading.Thread(target=lambda: booked.extend(timetable.book(1.0, earliest=0.0) for _ in range(300)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(booked) == [float(number) for number in range(2400)]


def test_processes_that_share_a_file_never_get_the_same_time(tmp_path):
    command = [sys.executable, "-c", _BOOK, str(tmp_path / "line")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    booked = sorted(float(word) for process in processes for word in process.communicate()[0].split())

    assert len(booked) == 1200
    assert booked[0] == 5.0
    assert all(later - earlier == 1.0 for earlier, later in pairwise(booked))


def test_stores_of_two_processes_share_one_rate(tmp_path):
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    stores = [
        ThrottledStore(
            MemoryStore(),
            Pace(parse_rates("1MB"), SharedTimetable(tmp_path / "line"), monotonic=lambda: now, sleep=sleep),
        )
        for _ in range(2)
    ]
    for number in range(6):
        stores[number % 2].put(f"blob/{number}", bytes(1_000_000))

    assert now == pytest.approx(105)


def test_the_same_location_and_limit_share_a_line_and_others_do_not():
    assert timetable_for("/repo 1MB").book(7.0, earliest=1.0) == 1.0

    assert timetable_for("/repo 1MB").book(1.0, earliest=1.0) == 8.0
    assert timetable_for("/repo 2MB").book(1.0, earliest=1.0) == 1.0


@pytest.mark.parametrize("mode", [0o777, 0o750])
def test_a_folder_that_others_can_look_into_is_not_trusted(temporary, mode, caplog):
    folder = temporary / f"vmkeep-{os.getuid()}"
    folder.mkdir()
    folder.chmod(mode)

    with caplog.at_level(logging.WARNING):
        assert isinstance(timetable_for("/repo 1MB"), OwnTimetable)
    assert caplog.records


def test_a_link_in_place_of_the_folder_is_not_followed(temporary):
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / f"vmkeep-{os.getuid()}").symlink_to(temporary / "elsewhere")

    assert isinstance(timetable_for("/repo 1MB"), OwnTimetable)
    assert not list((temporary / "elsewhere").iterdir())
