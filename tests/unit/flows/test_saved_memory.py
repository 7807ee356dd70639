"""No restore lets a person believe that the memory of a running or suspended VM comes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkeep.flows.saved_memory import about_the_memory
from vmkeep.model.point import BackupMode, Consistency, Power, Quiesce, RestorePoint, VmIdentity

FAILURE = "its guest starts as after a power failure"


def told(consistency, power, *, powers_on=True):
    point = RestorePoint(
        id="1", vm=VmIdentity(name="a", key="a"), taken_at=datetime.now(UTC), run="r", mode_asked=BackupMode.ASIS,
        mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=consistency, power=power, images=(),
    )  # fmt: skip
    return list(about_the_memory(point, powers_on=powers_on))


@pytest.mark.parametrize("power", [Power.SUSPENDED, None])
def test_a_vm_that_was_suspended_is_left_off_or_started_as_told_and_never_silently(power):
    (left_off,) = told(Consistency.SUSPENDED, power, powers_on=False)
    (started,) = told(Consistency.SUSPENDED, power, powers_on=True)

    assert left_off.endswith(f"it is left off, and once it is switched on, {FAILURE}")
    assert started.endswith(f"its memory is not in the point: {FAILURE}")


@pytest.mark.parametrize("consistency", [Consistency.SUSPENDED, Consistency.MEMORY])
def test_a_vm_that_ran_when_its_memory_was_saved_elsewhere_starts_as_after_a_power_failure(consistency):
    (line,) = told(consistency, Power.ON)

    assert line.endswith(FAILURE)


@pytest.mark.parametrize(
    ("consistency", "power"),
    [(Consistency.CRASH, Power.ON), (Consistency.FILE_SYSTEM, Power.ON), (Consistency.POWERED_OFF, Power.OFF)],
)
def test_nothing_is_said_of_a_point_without_a_memory(consistency, power):
    assert told(consistency, power) == []
