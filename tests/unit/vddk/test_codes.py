"""Each number of VixDiskLib leads to a class, a recovery and something to do."""

from pathlib import Path

import pytest

from vmkeep.errors import (
    AuthenticationError,
    DiskMovedError,
    PermissionDeniedError,
    Recovery,
    TransientError,
    UnreachableError,
    VddkError,
)
from vmkeep.transfer.stop_reasons import STANDSTILL
from vmkeep.vddk import codes
from vmkeep.vddk.timeouts import Patience

RUNBOOK = Path(__file__).parents[3] / "docs" / "operations" / "runbook.md"


@pytest.mark.parametrize(
    ("numbers", "error", "recovery", "remedy"),
    [
        ([3], VddkError, Recovery.STOP, "report"),
        ([4], DiskMovedError, Recovery.RETRY, "moved"),
        ([13], VddkError, Recovery.RETRY, "DiskRandomRead"),
        ([30, *range(16014, 16018), *range(17000, 17013)], VddkError, Recovery.STOP, "Cryptographer.Access"),
        ([35], AuthenticationError, Recovery.STOP, "user name and password; where the VM is encrypted"),
        ([3014, 13006], PermissionDeniedError, Recovery.STOP, "role"),
        ([3046], TransientError, Recovery.RETRY, "fewer disks"),
        ([*range(14003, 14012), 18000, 30001, 30202], UnreachableError, Recovery.RETRY, "network|902"),
        ([14014, 14015], VddkError, Recovery.RETRY, "another host"),
        ([16000, 16003, 16030], VddkError, Recovery.STOP, "disk|datastore"),
        ([59999], VddkError, Recovery.STOP, "log"),
    ],
)
def test_a_code_has_the_class_that_decides_and_the_words_that_help(numbers, error, recovery, remedy):
    for number in numbers:
        made = codes.make_error(number | 7 << 32, "", doing="opening [ds] a/b.vmdk")
        assert type(made) is error, number
        assert recovery is None or made.recovery is recovery, number
        with pytest.raises(error, match=rf"^opening \[ds\] a/b\.vmdk: .*\(VixError {number}\); .*({remedy})"):
            raise made


def test_no_number_is_told_without_something_to_do():
    assert [number for number in range(1 << 16) if not codes.meaning(number).remedy] == []


def test_the_runbook_has_a_row_for_each_kind_of_trouble():
    text = RUNBOOK.read_text()
    for number in ("1", "2", "13", "30", "35", "3046", "14009", "16000"):
        assert f"VDDK error {number}" in text, number


def test_no_wait_gives_up_before_vddks_own_time_out():
    patience = Patience()
    assert patience.writing > 600
    assert patience.opening > 180 + 180
    assert patience.reading > patience.ending_reads > 60
    assert patience.closing >= 600
    assert max(getattr(patience, step) for step in patience.__slots__) < STANDSTILL
