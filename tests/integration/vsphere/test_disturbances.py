"""A VM counts as undisturbed only if vSphere has told all of its events."""

from __future__ import annotations

import pytest

from vmkeep.vsphere import disturbances, inventory, machines
from vmkeep.vsphere.session import Session


def test_a_vm_with_more_events_than_vcenter_tells_counts_as_disturbed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = inventory.find_vm(session, "name:web01").moref
    machines.power_off(session, vm)
    since = session.server_time()
    machines.power_on(session, vm)
    machines.power_off(session, vm)
    since_off = session.server_time()
    assert "powerOn" in str(disturbances.find_disturbance(session, vm, since=since))
    assert disturbances.find_disturbance(session, vm, since=since_off) is None

    monkeypatch.setattr(disturbances, "_TOLD", 2)  # as if the start were one of the events that are left out

    assert "does not tell all" in str(disturbances.find_disturbance(session, vm, since=since))
    assert disturbances.find_disturbance(session, vm, since=since_off) is None
