"""A point whose time is in the future, because a clock was wrong, proves no backup, and any other is preferred."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

from vmkeep.catalog import PointOrigin
from vmkeep.clock import now
from vmkeep.flows.listing import newest_points
from vmkeep.flows.windows import PlannedVm, WindowPlan, overdue_vms
from vmkeep.policy import Due

DAY = timedelta(days=1)
VM = SimpleNamespace(moref="vm-1", instance_uuid="uuid", bios_uuid=None)


def taken(at, vcenter="here"):
    return PointOrigin(
        ref=f"uuid/{at:%Y%m%d}", taken_at=at, vm_key="uuid", vcenter=vcenter, moref="vm-1", addresses=(), dns_name=None
    )


def test_the_newest_point_of_a_vm_is_not_one_of_the_future_if_there_is_another():
    ahead, last, older = taken(now() + 400 * DAY), taken(now() - DAY), taken(now() - 2 * DAY)

    assert newest_points([VM], [ahead, older, last], "here")["vm-1"] == last
    assert newest_points([VM], [taken(now() + DAY, vcenter=None), older], "here")["vm-1"] == older
    assert newest_points([VM], [ahead], "here")["vm-1"] == ahead


def test_a_vm_whose_only_point_is_of_the_future_is_overdue():
    at = now()
    vms = tuple(
        PlannedVm(moref=name, name=name, last_point_at=last)
        for name, last in {"ahead": at + 400 * DAY, "good": at - DAY / 2, "old": at - 2 * DAY, "none": None}.items()
    )
    plan = WindowPlan(
        policy="gold", stamp="", due=Due.OPEN, opens_at=at, closes_at=at + DAY, next_opens_at=None,
        max_age_seconds=DAY.total_seconds(), vms=vms,
    )  # fmt: skip

    assert [vm.name for vm in overdue_vms(plan, (), at)] == ["ahead", "old", "none"]
