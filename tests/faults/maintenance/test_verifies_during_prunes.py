"""A verify that is killed harms nothing, and no prune beside a verify makes a good point look bad."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest

from tests.faults.maintenance.test_pins_during_prunes import KEEP_ONE, three
from tests.faults.maintenance.test_prune_power_cuts import twin_of
from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted
from tests.unit.maintenance.conftest import small_packs
from vmkeep.clock import now
from vmkeep.errors import NotFoundError
from vmkeep.flows.point_checks import Level, VerifyRequest, verify
from vmkeep.images import import_images
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.repository import create_repository
from vmkeep.repository.notes import COUNTS_FOR

__all__ = ["small_packs", "three"]

MINUTE = timedelta(minutes=1)
WHOLE = VerifyRequest(level=Level.ALL)


def killed_while_it_reads(repository, ref):
    """Verify in a process of its own, which is killed when the first bytes were read; return its id."""
    process = os.fork()
    if process == 0:
        verify(repository, ref, WHOLE, by="jane", bars=lambda _disk: lambda _done: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return process


def test_a_verify_that_is_killed_holds_its_point_for_ten_minutes_and_leaves_nothing_else(tmp_path):
    (tmp_path / "disk.raw").write_bytes(b"content" * 4096)
    repository = create_repository(str(tmp_path / "repo"))
    ref = import_images(repository, [tmp_path / "disk.raw"], name="web").ref
    import_images(repository, [tmp_path / "disk.raw"], name="web")
    before = {path for path in (tmp_path / "repo").rglob("*") if path.is_file()}

    process = killed_while_it_reads(repository, ref)

    (note,) = {path for path in (tmp_path / "repo").rglob("*") if path.is_file()} - before
    assert note.is_relative_to(tmp_path / "repo" / "uses")
    plan = plan_deletion(repository, [ref])
    assert (plan.going, f"(process {process})" in plan.staying[ref]) == ((), True)
    assert verify(repository, ref, WHOLE, by="joe").passed
    assert [proof.by for proof in repository.proofs.of(ref)] == ["joe"]
    long_ago = (now() - COUNTS_FOR - MINUTE).timestamp()
    os.utime(note, (long_ago, long_ago))
    assert delete_points(repository, plan_deletion(repository, [ref])).points_deleted == (ref,)
    assert list(repository.check(read_data=True)) == []
    assert not note.exists()


def test_a_prune_at_any_call_of_a_verify_leaves_the_point_or_the_verify_says_that_it_is_gone(three):
    """Never does it call the point damaged, which nobody could tell from real damage afterwards."""
    ref = min(three.held)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    assert verify(three.open(counted), ref, WHOLE, by="jane").passed
    outcomes = []  # of every fourth call, because all of them take seconds
    for at in range(0, counted.calls, 4):
        vault = twin_of(three)
        pruning = Interrupted(vault.store, at, lambda vault=vault: vault.prune(rule=KEEP_ONE))
        try:
            proof = verify(vault.open(pruning), ref, WHOLE, by="jane")
        except NotFoundError:
            outcomes.append(False)
            assert ref not in vault.open().point_refs()
        else:
            outcomes.append(True)
            assert proof.passed, proof.text
            assert [kept.id for kept in vault.open().proofs.of(ref)] == [proof.id]
        assert list(vault.store.list("uses/")) == []
        assert ref not in vault.open().point_refs() or ref in vault.prune(rule=KEEP_ONE).points_forgotten
    assert set(outcomes) == {False, True}
    held = outcomes.index(True)
    assert all(outcomes[held:]), "once the verify has begun, no prune takes its point"


@pytest.mark.parametrize("level", [Level.ALL, Level.WRITTEN])
def test_a_prune_while_a_verify_reads_takes_the_other_points_and_this_one_afterwards(three, level):
    ref, other, _ = sorted(three.held)
    forgotten = []

    def beside(_disk):
        forgotten.append(three.prune(rule=KEEP_ONE).points_forgotten)
        return lambda _progress: None

    request = VerifyRequest(level=level, sample=1.0)
    assert verify(three.open(), ref, request, by="jane", bars=beside).passed
    assert forgotten == [(other,)]
    assert three.prune(rule=KEEP_ONE).points_forgotten == (ref,)
