"""The state of a file differs after each later write, also after one within the same tick of the clock."""

import os
from pathlib import Path

from vmkeep.images import filestates
from vmkeep.images.filestates import is_unwritten, settled_state

AN_HOUR = 3600 * 10**9


def clock_of(folder: Path) -> int:
    probe = folder / "probe"
    probe.write_bytes(b"")
    return probe.stat().st_mtime_ns


def set_time_of_write(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))


def test_a_state_is_told_only_once_a_later_write_would_bear_another_time(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(b"1")
    last_write = clock_of(tmp_path) + 50_000_000  # a tick of the clock that is not over yet
    set_time_of_write(path, last_write)

    state = settled_state(path)

    assert state is not None
    assert str(last_write) in state
    assert clock_of(tmp_path) > last_write
    assert [file.name for file in tmp_path.iterdir() if file.name not in ("disk.raw", "probe")] == []


def test_a_clock_that_shows_the_time_of_the_last_write_is_waited_for(tmp_path, monkeypatch):
    """A later write in that tick would bear the same time. No test can choose where a real tick begins."""
    path = tmp_path / "disk.raw"
    path.write_bytes(b"1")
    last_write = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns)
    shown = iter([last_write, last_write, last_write + 1])
    monkeypatch.setattr(filestates, "_clock_of", lambda _: next(shown))

    assert settled_state(path) is not None
    assert list(shown) == []


def test_a_file_with_a_time_of_the_future_counts_as_written_to(tmp_path):
    """Each write until that time might bear the same one, if whoever put the clock back sets it again."""
    path, manifest = tmp_path / "disk.raw", tmp_path / "manifest"
    path.write_bytes(b"1")
    set_time_of_write(path, clock_of(tmp_path) + AN_HOUR)

    state = settled_state(path)
    manifest.write_bytes(b"")

    assert state is None
    assert not is_unwritten(path, state, manifest)


def test_a_file_that_nobody_writes_to_keeps_its_state(tmp_path):
    path, manifest = tmp_path / "disk.raw", tmp_path / "manifest"
    path.write_bytes(b"1")

    state = settled_state(path)
    manifest.write_bytes(b"")

    assert is_unwritten(path, state, manifest)
    path.write_bytes(b"2")
    assert not is_unwritten(path, state, manifest)
