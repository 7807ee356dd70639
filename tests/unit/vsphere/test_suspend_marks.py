"""The mark of a run on the VM that it suspends serves for the minutes of a suspension, whatever the clock says."""

from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.suspensions import SUSPEND_SECONDS, MarkedVm, SuspendMark

NOW = datetime(2026, 11, 28, 15, tzinfo=UTC)
LONG = timedelta(seconds=SUSPEND_SECONDS + 1)


@pytest.mark.parametrize(
    ("began", "over"), [(NOW, False), (NOW - LONG, True), (NOW + LONG, True)], ids=["now", "long ago", "of the future"]
)
def test_a_mark_on_a_running_vm_is_over_once_no_suspension_of_its_run_can_come_any_more(began, over):
    """A time of the future comes from a clock that was put back since. It keeps the mark no longer than another."""
    mark = SuspendMark(run="run", began=began, repository="repository")

    vm = MarkedVm(vm=VmRef(moref="vm-1", name="app"), mark=mark, power=PowerState.ON, suspended_at=None)

    assert vm.is_over(NOW) == over
