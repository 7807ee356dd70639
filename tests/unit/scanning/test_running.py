"""A scan calls no file clean that its scanners did not see whole, and its memory is bounded."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime

import pytest

from tests.guest_memory import MemoryFiles, file, folder
from tests.patience import HANG
from vmkeep.errors import CancelledError, UnreachableError
from vmkeep.model.scanfacts import ScannerFacts, ScanScope
from vmkeep.model.scanning import ScannedPoint, ScannedVolume
from vmkeep.scanning import Scan, Verdict, VerdictKind, contents, running

CLEAN = Verdict(kind=VerdictKind.CLEAN)


class Words:
    """Finds a word, and skips files with another one."""

    facts = ScannerFacts(name="Words", version="1")
    warnings = ()

    def __init__(self, judge=None):
        self.judge = judge or self._judge
        self.seen = []

    def scan(self, content):
        data = b"".join(content.pieces())
        self.seen.append(content.name)
        assert hashlib.sha256(data).hexdigest() == content.sha256
        assert len(data) == content.size
        return self.judge(data)

    @staticmethod
    def _judge(data):
        if b"EVIL" in data:
            return Verdict(kind=VerdictKind.FOUND, text="Evil.Word")
        if b"SECRET" in data:
            return Verdict(kind=VerdictKind.NOT_SCANNED, text="encrypted")
        return CLEAN


def scan(files, tmp_path, *scanners, older=None, check=lambda: None, on_progress=lambda _: None):
    running = Scan(scanners or (Words(),), threads=2, folder=tmp_path, check=check)
    return running.volume("disk0p1", files, older=older, on_progress=on_progress), running


def test_a_find_is_told_with_its_place_its_signature_and_its_digest(tmp_path):
    done, run = scan(MemoryFiles.of(folder("/d"), file("/d/a", b"an EVIL file"), file("/b", b"good")), tmp_path)

    [found] = run.findings
    assert (found.volume, found.path, found.signature, found.scanner) == ("disk0p1", "/d/a", "Evil.Word", "Words")
    assert found.sha256 == hashlib.sha256(b"an EVIL file").hexdigest()
    assert (done.files, done.found, done.unscanned, done.problem) == (2, 1, 0, "")


def test_a_file_that_one_of_the_scanners_did_not_see_is_not_among_the_scanned(tmp_path):
    all_clean = Words(lambda _data: CLEAN)

    done, run = scan(MemoryFiles.of(file("/a", b"SECRET")), tmp_path, all_clean, Words())

    assert (done.files, done.unscanned) == (0, 1)
    assert run.unscanned[0].why == "encrypted"


def test_a_file_that_is_too_large_is_listed_and_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "LARGEST", 10)
    words = Words()

    done, run = scan(MemoryFiles.of(file("/large", bytes(11)), file("/small", bytes(10))), tmp_path, words)

    assert words.seen == ["/small"]
    assert (done.files, done.unscanned) == (1, 1)
    assert run.unscanned[0].path == "/large"
    assert "larger than" in run.unscanned[0].why


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_that_is_longer_or_shorter_than_its_file_system_says_is_not_scanned(tmp_path, size):
    done, run = scan(MemoryFiles.of(file("/a", b"four", size=size)), tmp_path)

    assert (done.files, done.unscanned) == (0, 1)
    assert "bytes" in run.unscanned[0].why


def test_a_damaged_file_is_listed_and_a_damaged_folder_makes_the_volume_incomplete(tmp_path):
    files = MemoryFiles.of(folder("/d"), file("/d/a"), file("/b", b"x"), file("/c", b"x"), damaged={"/d", "/b"})

    done, run = scan(files, tmp_path)

    assert (done.files, done.unscanned) == (1, 1)
    assert run.unscanned[0].path == "/b"
    assert done.problem.startswith("1 folder cannot be read, e.g. /d: ")


def test_a_damaged_file_and_a_scanner_that_fails_make_the_volume_incomplete(tmp_path):
    def failing(_data):
        return Verdict(kind=VerdictKind.FAULT, text="no space")

    damaged, _ = scan(MemoryFiles.of(file("/a", b"x"), file("/b", b"x"), damaged={"/b"}), tmp_path)
    failed, _ = scan(MemoryFiles.of(file("/a", b"x")), tmp_path, Words(failing))

    assert damaged.problem.startswith("1 file could not be scanned, e.g. /b: ")
    assert failed.problem == "1 file could not be scanned, e.g. /a: no space"


@pytest.mark.parametrize(
    ("files", "left", "unchanged", "result"),
    [(0, 1, 0, "undecided"), (1, 2, 0, "undecided"), (1, 1, 0, "passed"), (0, 1, 5, "passed"), (0, 0, 0, "passed")],
)
def test_a_point_is_not_clean_if_most_of_its_files_were_left_out(files, left, unchanged, result):
    volume = ScannedVolume(name="disk0", kind="ext4", files=files, unscanned=left, unchanged=unchanged)
    point = ScannedPoint(
        point="p", vm="v", taken_at=datetime.now(UTC), scope=ScanScope.WHOLE, scanners=(), volumes=(volume,)
    )

    assert point.result == result
    assert ("most files were not scanned" in point.line) is (result == "undecided")


def test_unchanged_files_are_counted_and_not_scanned(tmp_path):
    older = MemoryFiles.of(file("/a", b"x"))
    words = Words()

    done, _ = scan(MemoryFiles.of(file("/a", b"x"), file("/b", b"y")), tmp_path, words, older=older)

    assert words.seen == ["/b"]
    assert (done.files, done.unchanged) == (1, 1)


def test_a_large_file_goes_to_a_temporary_file_that_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "IN_MEMORY", 10)
    there = []
    words = Words(lambda _data: there.append(len(list(tmp_path.iterdir()))) or CLEAN)

    done, _ = scan(MemoryFiles.of(file("/a", bytes(3 << 20))), tmp_path, words)

    assert (done.files, done.bytes_scanned) == (1, 3 << 20)
    assert there == [1]
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_of_files_that_wait_for_the_scanners_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_IN_FLIGHT", 1000)
    monkeypatch.setattr(running, "LARGEST", 1000)
    read, scanned, most = [0], [0], [0]
    lock = threading.Lock()

    def judge(data):
        with lock:
            most[0] = max(most[0], read[0] - scanned[0])
            scanned[0] += len(data)
        return CLEAN

    class Counted(MemoryFiles):
        def open(self, path):
            with lock:
                read[0] += self.entry(path).size
            return super().open(path)

    done, _ = scan(Counted.of(*(file(f"/{number}", bytes(300)) for number in range(50))), tmp_path, Words(judge))

    assert done.files == 50
    assert most[0] <= 1000


def test_a_scanner_that_does_not_answer_any_more_ends_the_scan_and_calls_nothing_clean(tmp_path):
    def gone(_data):
        raise UnreachableError("clamd does not answer")

    with pytest.raises(UnreachableError, match="clamd does not answer"):
        scan(MemoryFiles.of(*(file(f"/{number}", b"x") for number in range(200))), tmp_path, Words(gone))


def test_a_scan_can_be_stopped_at_any_file(tmp_path):
    asked = threading.Event()

    def check():
        if asked.is_set():
            raise CancelledError("told to stop")

    def judge(_data):
        asked.set()
        return CLEAN

    with pytest.raises(CancelledError):
        scan(MemoryFiles.of(*(file(f"/{number}", b"x") for number in range(500))), tmp_path, Words(judge), check=check)


def test_all_is_counted_and_the_first_hundred_are_named(tmp_path):
    files = MemoryFiles.of(*(file(f"/{number}", b"EVIL") for number in range(150)))

    done, run = scan(files, tmp_path)

    assert done.found == 150
    assert len(run.findings) == running.MOST == 100


def test_the_progress_comes_to_its_end(tmp_path):
    told = []
    files = MemoryFiles.of(*(file(f"/{number}", bytes(6 << 20)) for number in range(3)))

    scan(files, tmp_path, on_progress=told.append)

    assert (told[0].bytes_done, told[0].bytes_total) == (0, 18 << 20)
    assert (told[-1].bytes_done, told[-1].bytes_total) == (18 << 20, 18 << 20)


def test_reading_goes_on_while_a_scanner_works(tmp_path):
    second = threading.Event()

    class Told(MemoryFiles):
        def open(self, path):
            if path == "/2":
                second.set()
            return super().open(path)

    words = Words(lambda _data: CLEAN if second.wait(HANG) else pytest.fail("the reader waited for the scanner"))

    done, _ = scan(Told.of(file("/1", b"x"), file("/2", b"y")), tmp_path, words)

    assert done.files == 2
