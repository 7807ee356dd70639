"""The sweep finds what dead runs left on a vCenter, repairs what is surely ours, and reports the rest."""

from __future__ import annotations

from vmkeep.flows.leftovers import find_run_snapshots


def test_looking_at_all_vms_takes_the_same_calls_for_few_and_for_many(lab, site):
    """One view of all VMs is read page by page. Only a VM with leftovers costs calls of its own."""
    before = lab.state()["calls"]

    assert find_run_snapshots(site) == ()

    calls = {name: count - before.get(name, 0) for name, count in lab.state()["calls"].items()}
    assert {name: count for name, count in calls.items() if count and name.startswith("Retrieve")} == {
        "RetrievePropertiesEx": 1, "RetrieveServiceContent": 1,
    }  # fmt: skip
