"""Real ClamAV finds what it knows, and nothing counts as clean that it did not see whole."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import zipfile
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from tests.integration.scanning.conftest import EICAR, content, database
from tests.patience import HANG
from vmkeep.errors import TransferError, UnreachableError, UnsupportedError, UsageError
from vmkeep.scanning import ScannerPlaces, VerdictKind, open_scanners, owndaemon


def archive(data, *, encrypted=False):
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("inside.bin", data)
    raw = bytearray(made.getvalue())
    if encrypted:
        raw[6] |= 1
        raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


@pytest.mark.parametrize(
    "data",
    [EICAR, bytes(3 << 20) + EICAR, archive(b"x" * 5000 + EICAR), gzip.compress(EICAR)],
    ids=["alone", "behind 3 MiB", "in a zip", "in a gzip"],
)
def test_the_test_virus_is_found_by_name(clamav, data):
    verdict = clamav.scan(content(data))

    assert (verdict.kind, verdict.text) == (VerdictKind.FOUND, "Test.Eicar.UNOFFICIAL")


def test_a_harmless_file_is_clean(clamav):
    assert clamav.scan(content(b"hello" * 1000)).kind is VerdictKind.CLEAN


def test_an_encrypted_archive_is_not_scanned_and_not_clean(clamav):
    verdict = clamav.scan(content(archive(b"nobody knows" * 100, encrypted=True)))

    assert (verdict.kind, verdict.text) == (VerdictKind.NOT_SCANNED, "encrypted (Zip)")


def test_an_archive_that_unpacks_beyond_the_limits_is_not_scanned_and_not_clean(clamav):
    data = b"x"
    for _ in range(120):
        data = gzip.compress(data)

    verdict = clamav.scan(content(data))

    assert verdict.kind is VerdictKind.NOT_SCANNED
    assert "limit MaxRecursion" in verdict.text


def test_scanner_and_signatures_are_told_with_their_date(clamav, signatures):
    facts = clamav.facts

    assert facts.name == "ClamAV"
    assert facts.version.count(".") == 2
    assert facts.signatures_at.timestamp() == pytest.approx((signatures / "test.ndb").stat().st_mtime, abs=1)
    assert clamav.warnings == ()


def test_old_signatures_are_told(signatures, tmp_path, monkeypatch):
    monkeypatch.setattr("vmkeep.scanning.opening.OLD", timedelta(days=-1))

    with open_scanners(ScannerPlaces(clamav=str(signatures)), threads=1) as [scanner]:
        assert "old, so that newer malware is not found" in scanner.warnings[0]


def test_a_file_larger_than_the_daemon_takes_is_not_scanned(signatures, monkeypatch):
    monkeypatch.setattr(owndaemon, "LARGEST", 1 << 20)

    with open_scanners(ScannerPlaces(clamav=str(signatures)), threads=1) as [scanner]:
        verdict = scanner.scan(content(bytes(8 << 20)))
        assert verdict.kind is VerdictKind.NOT_SCANNED
        assert "StreamMaxLength" in verdict.text
        assert scanner.scan(content(EICAR)).kind is VerdictKind.FOUND


def test_a_daemon_that_knows_nothing_is_refused():
    with (
        database(ndb="Test.Other:0:*:deadbeefdeadbeefdeadbeef\n") as folder,
        pytest.raises(UnsupportedError, match="does not find the test virus EICAR"),
        open_scanners(ScannerPlaces(clamav=str(folder)), threads=1),
    ):
        pass


def test_a_daemon_that_hides_its_limits_is_refused(signatures, monkeypatch):
    monkeypatch.setattr(owndaemon, "_CONFIG", owndaemon._CONFIG.replace("AlertExceedsMax yes", "AlertExceedsMax no"))

    with (
        pytest.raises(UnsupportedError, match="write 'AlertExceedsMax yes'"),
        open_scanners(ScannerPlaces(clamav=str(signatures)), threads=1),
    ):
        pass


def test_a_daemon_that_takes_encrypted_archives_for_clean_is_told(signatures, monkeypatch):
    monkeypatch.setattr(owndaemon, "_CONFIG", owndaemon._CONFIG.replace("AlertEncrypted yes", "AlertEncrypted no"))

    with open_scanners(ScannerPlaces(clamav=str(signatures)), threads=1) as [scanner]:
        assert "does not tell encrypted archives from clean ones" in scanner.warnings[0]


def test_a_folder_without_signatures_is_refused_before_anything_starts(tmp_path):
    with (
        pytest.raises(UsageError, match="holds no signatures of ClamAV"),
        open_scanners(ScannerPlaces(clamav=str(tmp_path)), threads=1),
    ):
        pass


def test_a_damaged_database_is_told_in_the_daemons_words():
    with (
        database(ndb="no signature at all\n") as folder,
        pytest.raises(TransferError, match=r"clamd did not start: .*[Mm]alformed"),
        open_scanners(ScannerPlaces(clamav=str(folder)), threads=1),
    ):
        pass


def test_nobody_at_the_socket_is_told_with_the_way_out(tmp_path):
    dead = tmp_path / "clamd.ctl"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))

    with (
        pytest.raises(UnreachableError, match="systemctl start clamav-daemon"),
        open_scanners(ScannerPlaces(clamav=str(dead)), threads=1),
    ):
        pass
    with (
        pytest.raises(UsageError, match="it does not exist"),
        open_scanners(ScannerPlaces(clamav=str(tmp_path / "none")), threads=1),
    ):
        pass


def test_the_daemon_and_its_folder_are_gone_afterwards(signatures):
    with open_scanners(ScannerPlaces(clamav=str(signatures)), threads=1) as [scanner]:
        folder = scanner._address.path.parent
        pid = next(each.name for each in Path("/proc").glob("[1-9]*") if _runs(each, str(folder)))
        if os.geteuid() == 0:
            assert Path(f"/proc/{pid}").stat().st_uid != 0  # because it reads what strangers wrote

    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def _runs(process, folder):
    try:
        return folder in (process / "cmdline").read_text()
    except OSError:
        return False


@contextmanager
def answering(tmp_path, answer):
    """A daemon that takes what comes and answers every connection alike: a fault that the real one does not make."""
    path = tmp_path / "clamd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(HANG)


@pytest.mark.parametrize("answer", [b"", b"stream: what?\0", b"stream: Can't allocate memory ERROR\0"])
def test_an_answer_that_is_not_known_is_never_clean(tmp_path, answer):
    from vmkeep.scanning.clamd import ClamdAddress, ask_about, verdict_of

    with answering(tmp_path, answer) as path:
        if not answer:
            with pytest.raises(UnreachableError, match="without an answer"):
                ask_about(ClamdAddress(path=path), content(b"x"))
            return
        assert verdict_of(ask_about(ClamdAddress(path=path), content(b"x"))).kind is VerdictKind.FAULT


@pytest.mark.parametrize("manner", ["silent", "dripping", "deaf"])
def test_a_daemon_that_hangs_ends_the_wait_in_time_and_says_nothing_of_the_file(tmp_path, monkeypatch, manner):
    from vmkeep.scanning import clamd

    monkeypatch.setattr(clamd, "_ANSWER_SECONDS", 0.3)
    over = threading.Event()

    def hang(connection):
        while manner != "deaf" and connection.recv(1 << 20)[-4:] != bytes(4):
            pass
        while manner == "dripping" and not over.wait(0.05):
            connection.sendall(b"O")
        over.wait(HANG)

    with talking(tmp_path, hang) as path:
        with pytest.raises(UnreachableError, match="did not answer about a file"):
            clamd.ask_about(clamd.ClamdAddress(path=path), content(bytes(8 << 20)))
        over.set()


def test_a_daemon_that_dies_in_the_middle_of_a_file_gives_no_verdict(tmp_path):
    from vmkeep.scanning.clamd import ClamdAddress, ask_about

    with (
        talking(tmp_path, lambda connection: connection.recv(1 << 16)) as path,
        pytest.raises(UnreachableError, match="without an answer"),
    ):
        ask_about(ClamdAddress(path=path), content(bytes(8 << 20)))


@contextmanager
def talking(tmp_path, talk):
    """A daemon that deals with one connection by a function, and then closes it."""
    path = tmp_path / "clamd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            with suppress(OSError), listener.accept()[0] as connection:
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(HANG)
