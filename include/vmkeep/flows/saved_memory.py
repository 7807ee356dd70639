"""Says that a restore resumes nothing: no point holds a VM's memory, and vSphere makes no running VM of a saved one.

See decision 0039.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.model.point import Consistency, Power, RestorePoint

_LIKE_A_POWER_FAILURE = "its guest starts as after a power failure"


def about_the_memory(point: RestorePoint, *, powers_on: bool) -> Iterator[str]:
    """Yield a warning for the plan of a point's restore, if the VM had a memory that is not restored.

    :param powers_on: the VM is switched on at the end.
    """
    if _was_suspended(point):
        then = (
            _LIKE_A_POWER_FAILURE
            if powers_on
            else f"it is left off, and once it is switched on, {_LIKE_A_POWER_FAILURE}"
        )
        yield f"the VM was suspended when it was backed up, and its memory is not in the point: {then}"
    elif point.consistency is Consistency.SUSPENDED:
        yield (
            "the VM was suspended for the snapshot of its disks, and its memory is not in the point: "
            f"{_LIKE_A_POWER_FAILURE}"
        )
    elif point.consistency is Consistency.MEMORY:
        yield (
            "the disks were copied from a snapshot that held the VM's memory, too, and the memory is not in the point: "
            f"{_LIKE_A_POWER_FAILURE}"
        )


def _was_suspended(point: RestorePoint) -> bool:
    """Return whether the VM was suspended before its backup began. Points of older programs do not tell its power."""
    return point.power is Power.SUSPENDED or (point.power is None and point.consistency is Consistency.SUSPENDED)
