"""A disk over 2 TiB is backed up, backed up again by its changes, and restored, for the price of its data."""

from __future__ import annotations

import pytest

from tests.integration.flows.restoring import back_up, power, restore_whole
from tests.integration.flows.test_restored_as_it_was import make_vm
from vmkeep.model.point import BackupKind
from vmkeep.repository import open_repository

pytestmark = pytest.mark.slow
TIB = 1 << 40
MIB = 1 << 20
EARLY = (0, TIB - 65536, 2 * TIB + 5 * MIB)
LATE = (2 * TIB - 65536, 2 * TIB + 5 * MIB, 3 * TIB - 65536)


def write(lab, vm, places, seed):
    lab.write(vm, 0, [{"offset": at, "length": 65536, "seed": seed + at // 65536} for at in places])


def test_changes_beyond_2_tib_are_an_increment_that_reads_little_and_come_back(lab, bench):
    lab.settings(bytes_per_query=TIB)
    try:
        make_vm(lab, "large", capacity_kb=3 << 30)
        power(lab, "large", on=True)
        write(lab, "large", EARLY, 1)
        back_up(bench.site, "large", audit=0)
        write(lab, "large", LATE, 2)
        sealed = back_up(bench.site, "large", audit=0)
        with open_repository(bench.site.repository) as repository:
            (image,) = repository.load_point(sealed.point).images
        assert (image.kind, image.bytes_read < 64 * MIB) == (BackupKind.INCREMENTAL, True), image.reason

        restore_whole(bench.site, sealed.point, new_name="large-again")

        for at in {*EARLY, *LATE}:
            assert lab.read("large-again", 0, at, 65536) == lab.read("large", 0, at, 65536)
        assert len(lab.extents("large-again", 0)) == len({*EARLY, *LATE})
    finally:
        lab.settings(bytes_per_query=8 * MIB)
