"""A scan is alone neither with its point nor with its VM: others scan, find, delete and kill meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command_line import run_here
from tests.patience import HANG, eventually
from tests.sealed import remove_on_purpose
from vmkeep.clock import now
from vmkeep.errors import NotFoundError
from vmkeep.flows.clean_points import Cleanness, ScanStates, pass_on
from vmkeep.flows.malware import ScannerPlaces, ScanWish, open_point_scanner
from vmkeep.images import import_images
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository import create_repository, point_id

HARMLESS = 'rule Evil { strings: $a = "EVIL" condition: $a }'
ENDLESS = "rule Slow { condition: for all i in (0..9223372036854775806) : ( uint8(i % 4) >= 0 ) }"


@pytest.fixture
def world(tmp_path):
    """A repository with two points of a VM, a day after the other, and a harmless rule."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(2 << 20))
    subprocess.run(["mkfs.vfat", "-i", "12345678", str(image)], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", str(image), "-", "::file"], input=b"good", check=True)
    repository = create_repository(str(tmp_path / "repo"))
    made = import_images(repository, [image], name="web")
    older = replace(made, id=point_id("old", made.vm.key), run="old", taken_at=made.taken_at - timedelta(days=1))
    (tmp_path / "a.yar").write_text(HARMLESS)
    return repository, repository.seal(older), made.ref


def scan(repository, ref, rules, *, changed=False, check=lambda: None):
    with open_point_scanner(repository, ScannerPlaces(yara=(rules,)), check=check, by="test") as scanner:
        return scanner.scan(ref, ScanWish(changed=changed), on_progress=lambda _volume: lambda _progress: None)


def test_points_are_kept_while_they_are_scanned_and_a_find_of_meanwhile_is_passed_on(world, tmp_path):
    repository, old, new = world
    scan(repository, old, tmp_path / "a.yar")
    seen = []

    def meanwhile():
        if not seen:
            seen.extend(ref for ref in (old, new) if repository.uses.of(ref, time=now()))
            details = {"scope": "whole", "scanners": [{"name": "ClamAV"}], "finders": ["ClamAV"]}
            found = PointProof(kind=ProofKind.MALWARE, result=ProofResult.FAILED, at=now(), details=details)
            pass_on(repository, old.rpartition("/")[0], repository.proofs.add(old, found))

    scanned = scan(repository, new, tmp_path / "a.yar", changed=True, check=meanwhile)
    remove_on_purpose(repository.blobs, old)
    repository.proofs.forget(old)

    assert seen == [old, new]
    assert (scanned.since, scanned.result) == (old, ProofResult.PASSED)
    assert ScanStates(repository).of(new).cleanness is Cleanness.BASED


def test_two_scans_of_one_point_at_once_both_leave_their_outcome(world, tmp_path):
    repository, _, new = world
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: scan(repository, new, tmp_path / "a.yar"), range(2)))

    assert [each.result for each in done] == [ProofResult.PASSED] * 2
    assert len(repository.proofs.of(new)) == 2
    assert ScanStates(repository).of(new).cleanness is Cleanness.CLEAN


def test_a_scan_whose_point_is_deleted_meanwhile_leaves_nothing(world, tmp_path):
    repository, _, new = world

    with pytest.raises(NotFoundError, match="no restore point"):
        scan(repository, new, tmp_path / "a.yar", check=lambda: remove_on_purpose(repository.blobs, new))

    assert repository.proofs.of(new) == ()


def test_a_scan_that_is_killed_leaves_no_outcome_and_no_process_and_the_next_one_goes_on(world, tmp_path, in_children):
    repository, _, new = world
    in_children("import vmkeep.scanning.yarascanner as s; s.FILE_SECONDS = 3600")  # so that no rule ends by itself
    (tmp_path / "slow.yar").write_text(ENDLESS)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [
        sys.executable, "-m", "vmkeep.cli.main", "point", "scan", new, "-r", repository.location,
        "--yara", str(tmp_path / "slow.yar"),
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        eventually(lambda: _at_work(scratch))
        running.send_signal(signal.SIGKILL)
        running.wait(HANG)

    eventually(lambda: not _children(scratch))
    assert repository.proofs.of(new) == ()
    done = run_here("point", "scan", new, "-r", repository.location, "--yara", str(tmp_path / "a.yar"))
    assert done.returncode == 0, done.stderr
    assert [proof.result for proof in repository.proofs.of(new)] == [ProofResult.PASSED]


def _children(scratch):
    """Return the processes that run rules which were compiled into a folder."""
    found = []
    for process in Path("/proc").glob("[1-9]*"):
        try:
            if str(scratch) in (process / "cmdline").read_text() and "yarachild" in (process / "cmdline").read_text():
                found.append(process)
        except OSError:
            continue
    return found


def _at_work(scratch):
    """Return whether a child has used so much processor time that it is in the middle of its endless rule."""
    used = [int((each / "stat").read_text().rpartition(")")[2].split()[11]) for each in _children(scratch)]
    return any(ticks > 100 for ticks in used)
