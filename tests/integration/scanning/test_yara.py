"""YARA's rules are checked before any scan, and a scan that crashes or hangs is no verdict."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

import pytest

from tests.integration.scanning.conftest import content
from vmkeep.errors import TransferError, UsageError
from vmkeep.scanning import ScannerPlaces, VerdictKind, open_scanners, yarascanner
from vmkeep.scanning.yararules import compile_rules

RULE = 'rule Evil { strings: $a = "EVIL" condition: $a }\n'


@pytest.fixture(scope="module")
def yara(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "sub").mkdir()
    (folder / "evil.yar").write_text(RULE)
    (folder / "sub" / "names.yara").write_text(
        RULE + 'rule Name { condition: filename == "evil.exe" and filepath == "/tmp" and extension == ".exe" }\n'
        "rule Slow { strings: $a = /(a+)+b/ condition: #a > 3 }\n"
    )
    (folder / "readme.txt").write_text("no rules")
    with open_scanners(ScannerPlaces(yara=(folder,)), threads=2) as [scanner]:
        yield scanner


def test_rules_of_all_files_of_a_folder_are_run(yara):
    verdict = yara.scan(content(b"an EVIL file"))

    assert (verdict.kind, verdict.text) == (VerdictKind.FOUND, "Evil, Evil")
    assert yara.scan(content(b"a good file")).kind is VerdictKind.CLEAN
    assert (yara.facts.name, yara.facts.signatures) == ("YARA", "4 rules")
    assert yara.facts.version.startswith("YARA-X 1.")


def test_rules_may_ask_for_the_name_of_a_file(yara):
    assert yara.scan(content(b"x", name="/tmp/evil.exe")).text == "Name"
    assert yara.scan(content(b"x", name="/tmp/evil\udcff.exe")).kind is VerdictKind.CLEAN


def test_a_large_file_is_read_from_its_temporary_file(yara, tmp_path):
    (tmp_path / "spool").write_bytes(bytes(9 << 20) + b"EVIL")
    large = content(b"")
    object.__setattr__(large, "data", None)
    object.__setattr__(large, "path", tmp_path / "spool")

    assert yara.scan(large).kind is VerdictKind.FOUND


def test_wrong_rules_are_told_with_file_line_and_column(tmp_path):
    (tmp_path / "a.yar").write_text("rule A {\n condition: nobody\n}\n")
    (tmp_path / "b.yar").write_text("rule B { condition: }\n")

    with (
        pytest.raises(UsageError) as raised,
        open_scanners(ScannerPlaces(yara=(tmp_path,)), threads=1),
    ):
        pass

    assert f"{tmp_path}/a.yar:2:13: unknown identifier `nobody`" in str(raised.value)
    assert f"{tmp_path}/b.yar:1:21: syntax error" in str(raised.value)


def test_an_error_about_rules_may_be_dropped_by_any_thread(tmp_path, monkeypatch):
    """YARA-X's compiler complains if another thread than its own drops it; an error that keeps it brings that about."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: complaints.append(unraisable.exc_value))
    (tmp_path / "a.yar").write_text("rule A { condition: nobody }\n")
    errors = []
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError) as raised:
            compile_rules([place], tmp_path)
        errors.append(raised.value)
        del raised

    dropping = threading.Thread(target=errors.clear)
    dropping.start()
    dropping.join()
    gc.collect()

    assert complaints == []


@pytest.mark.parametrize("made", [None, "", b"\xff"], ids=["no file", "no rule", "no text"])
def test_a_place_without_rules_is_refused(tmp_path, made):
    place = tmp_path / "rules.yar"
    if made is not None:
        place.write_bytes(made if isinstance(made, bytes) else made.encode())

    with (
        pytest.raises(UsageError, match="YARA"),
        open_scanners(ScannerPlaces(yara=(place,)), threads=1),
    ):
        pass


def test_a_scan_that_takes_too_long_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(yarascanner, "FILE_SECONDS", 1)
    (tmp_path / "slow.yar").write_text("rule Slow { strings: $a = /(a+)+b/ condition: #a > 3 }\n")

    with open_scanners(ScannerPlaces(yara=(tmp_path,)), threads=1) as [scanner]:
        verdict = scanner.scan(content(b"a" * (30 << 20)))
        assert (verdict.kind, verdict.text) == (
            VerdictKind.NOT_SCANNED,
            "YARA ended the scan, because it took too long",
        )


def test_a_crash_costs_the_verdict_of_one_file_and_too_many_end_the_scan(tmp_path, monkeypatch):
    (tmp_path / "evil.yar").write_text(RULE)
    monkeypatch.setattr(yarascanner, "_CRASHES", 2)
    with open_scanners(ScannerPlaces(yara=(tmp_path,)), threads=1) as [scanner]:
        for _ in range(2):
            assert scanner.scan(content(b"EVIL")).kind is VerdictKind.FOUND
            child = scanner._idle.queue[0]
            os.kill(child._process.pid, signal.SIGKILL)
            child._process.wait()
            verdict = scanner.scan(content(b"EVIL"))
            assert verdict.kind is VerdictKind.NOT_SCANNED
            assert "did not get through it" in verdict.text
        scanner.scan(content(b"x"))
        child = scanner._idle.queue[0]
        child._process.kill()
        child._process.wait()
        with pytest.raises(TransferError, match="crashed on 3 files"):
            scanner.scan(content(b"EVIL"))


def test_no_scanner_at_all_is_refused():
    with pytest.raises(UsageError, match="no scanner"), open_scanners(ScannerPlaces(), threads=1):
        pass
