"""The honesty audit finds a change that vSphere leaves out; what was trimmed without a word reads as zeros."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest

from tests.patience import HANG
from vmkeep.errors import CancelledError
from vmkeep.model.audit import Audit, AuditPlan
from vmkeep.model.extents import Extent
from vmkeep.model.fullreason import FullReason
from vmkeep.transfer.auditing import OnceAllocated, check_increment

BLOCK = 65536
ALL = AuditPlan(phase=0, of=1)


def noise(blocks, *, seed=0, tail=0):
    return bytearray(random.Random(seed).randbytes(blocks * BLOCK + tail))


@pytest.fixture
def check():
    def run(source, repository, root, *, changed=(), plan=ALL, done=None, check=lambda: None):
        return check_increment(
            OnceAllocated(source), repository, plan=plan, done=done, changed=changed, parent="vm/point",
            parent_root=root, piece_size=4 * BLOCK, depth=2, on_progress=lambda _: None, check=check,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("tail", [0, 512])
def test_an_honest_tracking_passes_and_every_unchanged_block_was_read(repository, disk, back_up, check, tail):
    content = noise(30, tail=tail)
    content[4 * BLOCK : 6 * BLOCK] = bytes(2 * BLOCK)
    parent = back_up(disk(content), repository)
    content[9 * BLOCK] ^= 1

    found = check(disk(content), repository, parent.root, changed=(Extent(9 * BLOCK, 9 * BLOCK + 512),))

    assert found.full is None
    assert (found.audit.lies, found.audit.blocks) == (0, 29 + bool(tail))
    assert found.audit.bytes_read == len(content) - BLOCK


@pytest.mark.parametrize(
    ("at", "to"), [(0, b"x"), (17 * BLOCK + 99, b"x"), (30 * BLOCK, b"x"), (3 * BLOCK, bytes(BLOCK)), (5 * BLOCK, b"x")]
)
def test_a_change_that_is_left_out_is_a_lie_wherever_it_is(repository, disk, back_up, check, at, to):
    content = noise(30, tail=512)
    content[5 * BLOCK : 6 * BLOCK] = bytes(BLOCK)
    parent = back_up(disk(content), repository)
    content[at : at + len(to)] = to

    found = check(disk(content), repository, parent.root)

    assert found.full.reason is FullReason.TRACKING_LIED
    assert "1 of 31 audited blocks differ from vm/point" in found.full.text
    assert found.audit.first_lie == at // BLOCK * BLOCK


def test_a_lie_is_found_within_one_rotation_and_in_no_other_phase(repository, disk, back_up, check):
    content = noise(40)
    parent = back_up(disk(content), repository)
    content[23 * BLOCK] ^= 1

    caught = [
        phase
        for phase in range(7)
        if check(disk(content), repository, parent.root, plan=AuditPlan(phase=phase, of=7)).full is not None
    ]

    assert len(caught) == 1


def test_only_the_sample_is_read_in_sequence_and_never_what_is_read_anyway(repository, disk, back_up, check):
    content = noise(40)
    parent = back_up(disk(content), repository)
    changed = (Extent(0, 20 * BLOCK),)

    found = check(disk(content), repository, parent.root, changed=changed, plan=AuditPlan(phase=0, of=10))

    assert found.audit.bytes_read == 0
    found = check(disk(content), repository, parent.root, changed=changed, plan=AuditPlan(phase=5, of=10))
    assert found.audit.bytes_read == 4 * BLOCK


def test_what_is_not_allocated_is_not_read_by_the_audit(repository, disk, back_up, check):
    content = noise(4) + bytes(60 * BLOCK)
    allocated = (Extent(0, 4 * BLOCK),)
    parent = back_up(disk(content, allocated=allocated), repository)

    found = check(disk(content, allocated=allocated), repository, parent.root)

    assert found.audit.bytes_read == 4 * BLOCK
    assert (found.full, found.trimmed) == (None, ())


def test_an_area_that_was_trimmed_without_a_word_is_no_lie_and_reads_as_zeros(
    repository, disk, back_up, check, restored
):
    content = noise(200)
    parent = back_up(disk(content), repository)
    content[50 * BLOCK : 120 * BLOCK] = bytes(70 * BLOCK)
    trimmed = disk(content, allocated=(Extent(0, 50 * BLOCK), Extent(120 * BLOCK, 200 * BLOCK)))

    found = check(trimmed, repository, parent.root)
    stored = back_up(trimmed, repository, extents=(), also=found.trimmed, parent_root=parent.root)

    assert (found.full, found.trimmed) == (None, (Extent(50 * BLOCK, 120 * BLOCK),))
    assert restored(repository, stored.root) == bytes(content)


def test_an_area_that_is_wrongly_called_unallocated_keeps_its_data(repository, disk, back_up, check, restored):
    content = noise(20)
    parent = back_up(disk(content), repository)
    liar = disk(content, allocated=(Extent(0, 4 * BLOCK),))

    found = check(liar, repository, parent.root)
    stored = back_up(liar, repository, extents=(), also=found.trimmed, parent_root=parent.root)

    assert restored(repository, stored.root) == bytes(content)


def test_an_earlier_try_has_audited_already(repository, disk, back_up, check):
    content = noise(10)
    parent = back_up(disk(content), repository)
    content[0] ^= 1
    done = Audit(phase=0, of=1, blocks=10, bytes_read=10 * BLOCK)

    assert check(disk(content), repository, parent.root, done=done).audit is done
    lied = replace(done, lies=1, first_lie=0)
    assert check(disk(noise(10)), repository, parent.root, done=lied).full.reason is FullReason.TRACKING_LIED


def test_a_point_whose_map_is_lost_is_no_reason_to_fail_but_to_read_everything(repository, disk, check):
    found = check(disk(noise(3)), repository, "ab" * 32)

    assert (found.full.reason, found.audit) == (FullReason.POINT_DAMAGED, None)


def test_no_plan_is_no_reading(repository, disk, back_up, check):
    content = noise(10)
    parent = back_up(disk(content), repository)

    assert check(disk(noise(10, seed=1)), repository, parent.root, plan=None).audit is None


def test_an_audit_stops_when_the_copy_has_to(repository, disk, back_up, check):
    content = noise(10)
    parent = back_up(disk(content), repository)

    told = threading.Event()

    def stop():
        told.set()
        raise CancelledError("stop")

    source = disk(content)
    source.before_piece = lambda _extent: told.wait(HANG)

    with pytest.raises(CancelledError):
        check(source, repository, parent.root, check=stop)
