"""The audit's samples: each run reads its share, all runs of a rotation read every block once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import UsageError
from vmkeep.model.audit import SHARE, Audit, AuditPlan, next_audit, runs_of
from vmkeep.model.extents import Extents, total

BLOCK = 65536
ROOT = "00c0ffee" * 8

capacities = st.integers(1, 5000 * BLOCK // 512).map(lambda sectors: sectors * 512)


@given(capacities, st.integers(1, 150))
def test_all_runs_of_a_rotation_read_every_block_exactly_once(capacity, of):
    samples = [Extents(AuditPlan(phase=phase, of=of).sample(capacity, BLOCK)) for phase in range(of)]

    assert sum(map(total, samples)) == capacity
    together = sorted(extent for sample in samples for extent in sample)
    assert Extents(together) == [(Extents(together))[0]]
    assert (together[0].start, max(extent.stop for extent in together)) == (0, capacity)
    assert all(extent.start % BLOCK == 0 for sample in samples for extent in sample)


@given(st.integers(0, 99))
def test_one_run_of_a_large_disk_reads_one_per_cent(phase):
    capacity = 1 << 40

    read = total(Extents(AuditPlan(phase=phase, of=runs_of(SHARE)).sample(capacity, 256 << 10)))

    assert abs(read - capacity / 100) <= 64 * (256 << 10)


def test_the_sample_of_a_small_disk_is_small_too():
    read = [total(Extents(AuditPlan(phase=phase, of=100).sample(64 << 20, 256 << 10))) for phase in range(100)]

    assert max(read) == 4 * (256 << 10)
    assert min(read) > 0


@pytest.mark.parametrize(("share", "runs"), [(0, 0), (1, 1), (0.5, 2), (0.01, 100), (0.03, 34), (0.002, 500)])
def test_a_share_is_a_number_of_runs(share, runs):
    assert runs_of(share) == runs


@pytest.mark.parametrize("share", [-0.1, 1.1, 100])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match="from 0 to 1"):
        runs_of(share)


def test_a_run_continues_the_rotation_of_the_last_point():
    assert next_audit(Audit(phase=41, of=100), of=100, root=ROOT) == AuditPlan(phase=42, of=100)
    assert next_audit(Audit(phase=99, of=100), of=100, root=ROOT) == AuditPlan(phase=0, of=100)


def test_a_rotation_begins_somewhere_after_a_full_an_older_program_or_another_share():
    first = next_audit(None, of=100, root=ROOT)

    assert first == next_audit(Audit(phase=1, of=50), of=100, root=ROOT)
    assert first != next_audit(None, of=100, root="1" * 64)


def test_no_share_is_no_audit():
    assert next_audit(Audit(phase=1, of=100), of=0, root=ROOT) is None
