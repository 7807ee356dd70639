"""Rules that go by a clock of ours do not go by one that is obviously wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import AgingStore
from vmkeep.clock import now
from vmkeep.errors import UnsupportedError
from vmkeep.maintenance.storetime import time_for_rules


def test_no_rule_is_carried_out_where_our_clock_is_days_ahead_of_the_stores():
    store = AgingStore()
    store.time = now() - timedelta(days=2)

    with pytest.raises(UnsupportedError, match=r"this machine's clock says \d{4}-.*nothing is forgotten"):
        time_for_rules(store)
    assert list(store.list("")) == []


@pytest.mark.parametrize("hours", [-23, 0, 1000])
def test_clocks_that_differ_harmlessly_stop_nobody(hours):
    store = AgingStore()
    store.time = now() + timedelta(hours=hours)

    assert abs(time_for_rules(store) - now()) < timedelta(hours=1)
