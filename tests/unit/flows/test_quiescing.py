"""A guest that cannot be quiesced is tried three times; then the request decides."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkeep.errors import QuiesceFailedError, VSphereError
from vmkeep.flows.quiescing import PAUSE_SECONDS, take_quiesced
from vmkeep.model.point import Quiesce
from vmkeep.vsphere.snapshots import VmSnapshot


class Guest:
    """Fails to be quiesced for a number of times, and remembers each snapshot that was asked for."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.asked: list[bool] = []
        self.pauses: list[float] = []

    def __call__(self, *, quiesce: bool) -> VmSnapshot:
        self.asked.append(quiesce)
        if quiesce and self.fails:
            self.fails -= 1
            raise QuiesceFailedError("the guest is busy", fault="ApplicationQuiesceFault")
        return VmSnapshot(moref="snapshot-1", name="s", run="r", created_at=datetime.now(UTC), quiesced=quiesce)

    def taken(self, level=Quiesce.FILE_SYSTEM, *, required=False):
        return take_quiesced(self, level, required=required, vm="a", pause=self.pauses.append)


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_guest_that_is_quiet_at_one_of_three_tries_is_quiesced(fails, required):
    guest = Guest(fails)

    taken = guest.taken(required=required)

    assert (taken.used, taken.changes, taken.warnings) == (Quiesce.FILE_SYSTEM, (), ())
    assert guest.asked == [True] * (fails + 1)
    assert guest.pauses == [PAUSE_SECONDS] * fails


def test_required_takes_no_snapshot_without_quiescing():
    guest = Guest(9)

    with pytest.raises(QuiesceFailedError, match=r"required, and failed 3 times.*the guest is busy"):
        guest.taken(required=True)

    assert guest.asked == [True] * 3
    assert len(guest.pauses) == 2


@pytest.mark.parametrize("level", [Quiesce.FILE_SYSTEM, Quiesce.APPLICATION])
def test_preferred_goes_on_without_and_says_so_in_data_and_words(level):
    taken = Guest(9).taken(level)

    (change,) = taken.changes
    assert (change.what, change.asked, change.used, change.reason) == ("quiesce", level, "none", "quiescing-failed")
    assert "the guest is busy" in change.detail
    assert taken.used is Quiesce.NONE
    assert "crash-consistent" in taken.warnings[0]


def test_off_asks_for_no_quiescing():
    guest = Guest(9)

    assert guest.taken(Quiesce.NONE).used is Quiesce.NONE
    assert guest.asked == [False]


def test_another_failure_of_the_snapshot_is_not_tried_again():
    def take(*, quiesce: bool) -> VmSnapshot:
        raise VSphereError("no space left", fault="NoDiskSpace")

    with pytest.raises(VSphereError, match="no space"):
        take_quiesced(take, Quiesce.FILE_SYSTEM, required=False, vm="a", pause=lambda _: pytest.fail("waited"))
