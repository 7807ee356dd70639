"""A run that a limit leaves no room for, in a running Airflow: it holds nothing, and goes on when there is room."""

from __future__ import annotations

import pytest

from tests.patience import HANG, eventually
from vmkeep.model.limits import Holder
from vmkeep.repository import open_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def test_a_run_without_room_for_its_snapshot_holds_no_worker_uses_no_retry_and_goes_on_later(
    web01_point, api, site, control
):
    with open_repository(site.repository) as repository:
        limit = next(use.limit for use in repository.usages() if use.limit.name.startswith("snapshots on datastore"))
        permits = repository.permits(limit)
        others = [f"other-{number}" for number in range(limit.most)]
        try:
            for other in others:
                permits.take(Holder(owner=other, run=other, what=f"backup of {other}"))
            run = api.trigger("vm_backup", vm="web01")
            eventually(lambda: state_of(api, run, "snapshot") == ("up_for_reschedule", 1))
            assert permits.usage().waiting == ("backup of web01",)
            assert control.snapshots("web01") == []
        finally:
            for other in others:
                permits.give_back(other)
        assert api.wait("vm_backup", run, seconds=HANG) == "success"
        assert state_of(api, run, "snapshot") == ("success", 1)
        assert permits.usage().holders == ()


def state_of(api, run, task):
    return next((one["state"], one["try_number"]) for one in api.seen("vm_backup", run) if one["task_id"] == task)
