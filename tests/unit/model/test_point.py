"""A restore point tells whether its VM ran, also one that an older program has made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.point import BackupMode, Consistency, Power, Quiesce, RestorePoint, VmIdentity


def point(consistency, power=None):
    return RestorePoint(
        id="p",
        vm=VmIdentity(name="web01", key="k"),
        taken_at=datetime(2026, 1, 2, tzinfo=UTC),
        run="r",
        mode_asked=BackupMode.SNAPSHOT_EXCL_MEM,
        mode_used=BackupMode.SNAPSHOT_EXCL_MEM,
        quiesce_asked=Quiesce.NONE,
        consistency=consistency,
        images=(),
        power=power,
    )


@pytest.mark.parametrize("power", Power)
def test_a_vm_ran_if_it_was_on_and_a_suspended_one_did_not(power):
    assert point(Consistency.CRASH, power).was_running is (power is Power.ON)


@pytest.mark.parametrize("consistency", Consistency)
def test_of_a_point_without_its_power_the_consistency_tells(consistency):
    old = to_plain(point(consistency))
    del old["power"]

    ran = from_plain(RestorePoint, old).was_running

    assert ran is (consistency not in (Consistency.POWERED_OFF, Consistency.SUSPENDED))
