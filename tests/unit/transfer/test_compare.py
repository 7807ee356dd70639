"""Written bytes are read back: those that are elsewhere, missing, or left over are found."""

from __future__ import annotations

import random

import pytest

from vmkeep.errors import CancelledError, VerificationError
from vmkeep.transfer import compare

BLOCK = 65536
CONTENT = random.Random(3).randbytes(3 * BLOCK) + bytes(4 * BLOCK) + random.Random(4).randbytes(2 * BLOCK + 512)


@pytest.fixture
def read_back(repository, disk, back_up):
    root = back_up(disk(CONTENT), repository).root

    def call(held):
        return compare.compare_disk(
            disk(held), repository, root, on_progress=lambda _: None, check=lambda: None, what="[ds] a/a.vmdk"
        )

    return call


def test_a_disk_that_holds_what_was_written_passes(read_back):
    assert read_back(CONTENT) == 5 * BLOCK + 512 + BLOCK


@pytest.mark.parametrize("at", [0, 2 * BLOCK + 77, len(CONTENT) - 1])
def test_one_wrong_byte_is_found_and_its_offset_named(read_back, at):
    held = bytearray(CONTENT)
    held[at] ^= 1

    with pytest.raises(VerificationError, match=f"byte {at // BLOCK * BLOCK}"):
        read_back(held)


def test_what_the_disk_held_before_does_not_pass_for_zeros(read_back):
    held = bytearray(CONTENT)
    held[3 * BLOCK + 5] = 9

    with pytest.raises(VerificationError):
        read_back(held)


def test_of_a_large_disk_a_sample_is_read(read_back, monkeypatch):
    monkeypatch.setattr(compare, "ALL_BELOW", BLOCK)

    assert 0 < read_back(CONTENT) < 5 * BLOCK


def test_a_target_that_is_larger_has_to_be_zeros_beyond_the_disk(read_back):
    grown = bytearray(CONTENT + bytes(3 * BLOCK - 512))
    assert read_back(grown) > 0
    grown[len(CONTENT) + 5] = 9

    with pytest.raises(VerificationError):
        read_back(grown)


def test_nor_may_a_whole_block_beyond_it_hold_anything(repository, disk, back_up):
    content = CONTENT[: 3 * BLOCK]
    root = back_up(disk(content), repository).root
    held = bytearray(content + bytes(BLOCK))
    held[-1] = 1

    with pytest.raises(VerificationError, match=f"byte {3 * BLOCK}"):
        compare.compare_disk(
            disk(held), repository, root, on_progress=lambda _: None, check=lambda: None, what="[ds] a/a.vmdk"
        )


def test_the_first_block_is_always_part_of_the_sample(read_back, monkeypatch):
    monkeypatch.setattr(compare, "ALL_BELOW", 0)
    monkeypatch.setattr(compare, "SHARES", 1 << 30)
    held = bytearray(CONTENT)
    held[BLOCK - 1] ^= 1

    with pytest.raises(VerificationError, match="byte 0;"):
        read_back(held)


def test_the_word_to_stop_ends_a_comparison(repository, disk, back_up):
    root = back_up(disk(CONTENT), repository).root

    def stop():
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        compare.compare_disk(disk(CONTENT), repository, root, on_progress=lambda _: None, check=stop, what="disk")
