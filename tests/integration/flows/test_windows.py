"""A window's VMs: the one with the oldest point first, and each that is not backed up is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.flows import restoring
from vmkeep.catalog import open_catalog
from vmkeep.flows.quality_evidence import Inventory, standings_in
from vmkeep.flows.windows import overdue_vms, plan_window
from vmkeep.policy import Due, read_file
from vmkeep.repository import open_repository
from vmkeep.selection import parse_selector
from vmkeep.vsphere import inventory, snapshots
from vmkeep.vsphere.api import vim

NOW = datetime(2026, 6, 8, 23, tzinfo=UTC)
OPENED = NOW.replace(hour=22)
POLICY = """\
name: {name}
selection: {selection}
window: {{start: 22:00, end: 06:00, time_zone: UTC}}
"""


@pytest.fixture
def policy(tmp_path):
    def make(name, selection):
        path = tmp_path / f"{name}.yaml"
        path.write_text(POLICY.format(name=name, selection=selection))
        read = read_file(path)
        assert read.policy is not None, read.lines
        return read.policy

    return make


def plan(site, policy, *others, opened_at=OPENED, now=NOW, by_hand=False, again=False, **more):
    times = {"opened_at": opened_at, "by_hand": by_hand, "now": now, "again": again}
    return plan_window(site, policy, others, **times, **more)


def test_the_vm_without_a_point_comes_before_the_one_with_a_point(kept, policy):
    site, _ = kept
    made = plan(site, policy("nightly", "name:web* or name:db*"))
    assert (made.vms[-1].name, made.due) == ("web01", Due.OPEN)
    assert made.vms[-1].last_point_at is not None
    assert {vm.last_point_at for vm in made.vms[:-1]} == {None}
    assert (made.stamp, made.closes_at, made.next_opens_at) == (
        "20260608T220000Z",
        OPENED + timedelta(hours=8),
        OPENED + timedelta(days=1),
    )


def test_a_vm_is_given_the_proxies_that_reach_it_best_or_else_those_that_reach_any_vm(kept, policy):
    site, _ = kept
    reaches = {"usual": None, "near": parse_selector("name:db01"), "far": parse_selector("datastore:nowhere")}
    made = plan(site, policy("nightly", "name:web01 or name:db01"), reaches=reaches)
    assert {vm.name: vm.proxies for vm in made.vms} == {"web01": ("usual",), "db01": ("near",)}


def test_a_vm_is_overdue_once_its_newest_point_is_older_than_the_policy_allows(kept, policy):
    site, _ = kept
    made = plan(site, replace(policy("nightly", "name:web01 or name:db01"), max_age=timedelta(hours=36)))
    last = made.vms[-1].last_point_at
    assert [vm.name for vm in overdue_vms(made, (), last + timedelta(hours=36))] == ["db01"]
    late = last + timedelta(hours=37)
    assert [vm.name for vm in overdue_vms(made, (), late)] == ["db01", "web01"]
    assert [vm.name for vm in overdue_vms(made, {made.vms[0].moref}, late)] == ["web01"]


def test_a_damaged_point_is_none(kept, policy):
    site, ref = kept
    with open_repository(site.repository) as repository:
        repository.marks.mark_damaged(ref, [])
        try:
            made = plan(site, policy("nightly", "name:web01"))
        finally:
            repository.marks.clear_damaged(ref)
    assert [vm.last_point_at for vm in made.vms] == [None]


def test_vms_of_no_policy_and_of_several_are_told(kept, policy):
    site, _ = kept
    made = plan(site, policy("nightly", "name:web01 or name:db01"), policy("other", "name:db01 or name:app01"))
    assert made.conflicts == ("db01",)
    assert not {"web01", "db01", "app01"} & set(made.unprotected)
    assert made.unprotected


def test_a_vm_of_two_policies_is_backed_up_by_one_of_them_and_the_other_says_so(kept, policy):
    site, _ = kept
    nightly, other = policy("nightly", "name:web01 or name:db01"), policy("other", "name:db01")

    def vms(made):
        return [vm.name for vm in made.vms], [(vm.name, vm.policy) for vm in made.elsewhere], made.conflicts

    assert vms(plan(site, nightly, other)) == (["db01", "web01"], [], ("db01",))
    assert vms(plan(site, other, nightly)) == ([], [("db01", "nightly")], ())
    assert vms(plan(site, other, nightly, asleep=["nightly"])) == (["db01"], [], ("db01",))
    assert vms(plan(site, replace(other, priority=1), nightly)) == (["db01"], [], ("db01",))
    assert vms(plan(site, nightly, replace(other, priority=1))) == (["web01"], [("db01", "other")], ())


def test_a_window_whose_place_another_one_has_taken_asks_no_server(policy, site):
    made = plan(replace(site, vcenter=None), policy("nightly", "name:*"), now=NOW + timedelta(days=3))
    assert (made.due, made.vms) == (Due.SUPERSEDED, ())


def test_a_person_starts_a_window_at_any_time(kept, policy):
    site, _ = kept
    noon = NOW.replace(hour=12)
    made = plan(site, policy("nightly", "name:web01"), opened_at=noon, now=noon, by_hand=True)
    assert (made.due, made.opens_at, made.closes_at) == (Due.OPEN, noon, noon + timedelta(hours=8))
    assert made.next_opens_at == OPENED


def test_a_window_that_is_cleared_after_its_end_opens_once_more_under_its_own_name(kept, policy):
    site, _ = kept
    noon = NOW.replace(hour=12) + timedelta(days=1)
    for by_hand in (False, True):
        made = plan(site, policy("nightly", "name:web01"), now=noon, again=True, by_hand=by_hand)
        assert (made.due, made.opens_at, made.closes_at) == (Due.OPEN, noon, noon + timedelta(hours=8))
        assert made.stamp == "20260608T220000Z"
    late = plan(site, policy("nightly", "name:web01"), now=noon + timedelta(days=1), again=True)
    assert late.due is Due.SUPERSEDED


def test_a_vm_that_other_software_manages_is_left_out_with_its_reason(kept, policy, lab):
    site, _ = kept
    owner = vim.ext.ManagedByInfo(extensionKey="com.vmware.vim.eam", type="cluster-agent")
    restoring.reconfigure(lab, "old01", vim.vm.ConfigSpec(managedBy=owner))
    made = plan(site, policy("nightly", "name:web01 or name:old01"))
    assert [vm.name for vm in made.vms] == ["web01"]
    assert [(vm.name, vm.why) for vm in made.left_out] == [("old01", "managed by com.vmware.vim.eam (cluster-agent)")]
    assert "old01" not in made.unprotected


def test_a_vm_that_a_restore_is_making_is_left_out_until_it_is_whole(kept, policy, lab):
    """Carriers of new disks and half-made VMs fit a policy by their folder or name. Their backup would be refused."""
    site, _ = kept
    setting = vim.option.OptionValue(key="vmkeep.run", value="of/1")
    restoring.reconfigure(lab, "db01", vim.vm.ConfigSpec(extraConfig=[setting]))
    selected = policy("nightly", "name:web01 or name:db01")

    try:
        made = plan(site, selected)
    finally:
        setting.value = ""
        restoring.reconfigure(lab, "db01", vim.vm.ConfigSpec(extraConfig=[setting]))

    assert [(vm.name, vm.why) for vm in made.left_out] == [("db01", "it is being made by the restore of run of/1")]
    assert [vm.name for vm in made.vms] == ["web01"]
    assert [vm.name for vm in plan(site, selected).vms] == ["db01", "web01"]


def test_a_check_of_data_quality_sees_each_vm_with_its_policy_its_newest_good_point_and_its_oldest_snapshot(
    kept, lab, policy
):
    site, ref = kept
    nightly = policy("nightly", "name:web* or name:db01")
    with restoring.hands(lab) as session:
        moref = inventory.find_vm(session, "db01").moref
        first, second = (snapshots.create(session, moref, run=run, quiesce=False) for run in ("first", "second"))
    with open_repository(site.repository) as repository, open_catalog("sqlite://") as catalog:
        catalog.refresh(repository)
        with catalog.open_check(repository.id, datetime.now(UTC)) as check:
            check.lay_points(())
            found = standings_in(Inventory(vcenter=site.vcenter, policies=(nightly,)), check.origins(), {})

    standing = {each.name: each for each in found}
    assert (standing["web01"].policy, standing["web01"].ref, standing["web01"].snapshot) == ("nightly", ref, None)
    assert (standing["db01"].ref, standing["db01"].snapshot_name) == (None, first.name)
    assert standing["db01"].snapshot == int(first.created_at.timestamp()) <= int(second.created_at.timestamp())
    assert standing["app01"].policy == ""
    assert any(each.obstacle for each in found), "the lab has VMs that nobody can back up"
    assert all(each.asked for each in found)
