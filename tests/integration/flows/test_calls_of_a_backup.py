"""A backup asks little of a vCenter, because a thousand VMs ask it in one night."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tests.integration.flows.restoring import back_up

MOST = 40
"""Calls of a backup of one disk, whose changes take two or three answers of the lab."""
OF_HOSTS = ("host.GET",)
"""Requests that the lab counts too, though a host answers them, and not the vCenter."""


def calls_of(lab, action) -> Counter[str]:
    """The vCenter's calls during an action, by method."""
    before = Counter(lab.state()["calls"])
    action()
    calls = Counter(lab.state()["calls"]) - before
    return Counter({method: count for method, count in calls.items() if method not in OF_HOSTS})


def test_a_backup_of_a_vm_with_one_disk_takes_few_calls_whether_it_is_full_or_not(bench):
    back_up(bench.site, "web01")  # switches change tracking on

    increment = calls_of(bench.lab, partial(back_up, bench.site, "web01"))
    full = calls_of(bench.lab, partial(back_up, bench.site, "web01", full=True))

    assert increment.total() <= MOST, increment
    assert full.total() <= MOST, full
