"""A new VM gets the saved storage policies, tags and custom attributes, found by name, or the plan says why not."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from tests.integration.flows.restoring import Restoring, back_up, devices, hands, reconfigure, restore_whole, site_of
from tests.labs import start_lab
from vmkeep.flows.new_labels import apply_labels
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.job import from_json, to_json
from vmkeep.model.references import NamedTag
from vmkeep.repository import create_repository
from vmkeep.vsphere import attributes, policies, vmtags
from vmkeep.vsphere.api import vim
from vmlab.testing import Lab

VM = "web01"
GOLD, SILVER, BRONZE = "Gold [vSAN]", "Silver = 2", "Bronze"
TAGS = [NamedTag(category="Tier/1", name="front"), NamedTag(category="team", name="söuth")]
ATTRIBUTES = [("Owner", "Accounting = yes"), ("Cost", "12")]

LABELLING = ("InventoryService.Tagging.AttachTag", "Global.SetCustomField")


def add(lab: Lab, kind: str, name: str, **more) -> str:
    return str(lab.post("inventory/add", {"kind": kind, "name": name, **more})["id"])


def define(lab: Lab, names) -> None:
    with hands(lab) as session:
        for name in names:
            session.content.customFieldsManager.AddCustomFieldDef(name, vim.VirtualMachine, None, None)


@pytest.fixture(scope="module")
def kept(lab, tmp_path_factory):
    """A site, and a point of a VM with two policies, two tags and two custom attributes."""
    home, disk = (add(lab, "storage policy", name, id=f"here-{name}") for name in (GOLD, SILVER))
    device = next(device for device in devices(lab, VM) if device.key == 2000)
    change = vim.vm.device.VirtualDeviceSpec(
        operation="edit", device=device, profile=[vim.vm.DefinedProfileSpec(profileId=disk)]
    )
    spec = vim.vm.ConfigSpec(vmProfile=[vim.vm.DefinedProfileSpec(profileId=home)], deviceChange=[change])
    reconfigure(lab, VM, spec)
    define(lab, dict(ATTRIBUTES))
    for tag in TAGS:
        add(lab, "tag", tag.name, category=tag.category)
    moref = lab.vm(VM)["moref"]
    with hands(lab) as session:
        attributes.set_attributes(session, moref, ATTRIBUTES)
        vmtags.attach_tags(session, moref, TAGS)
    location = str(tmp_path_factory.mktemp("labels") / "repository")
    create_repository(location)
    site = site_of(lab, location)
    sealed = back_up(site, VM)
    assert sealed.warnings == ()
    return site, sealed.point


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second vCenter, which has some of the same names, each with another id."""
    with start_lab(tmp_path_factory.mktemp("other") / "lab", data_disk_gib=0.0625) as started:
        add(started, "storage policy", GOLD, id="there-gold")
        add(started, "storage policy", "another", id=f"here-{SILVER}")
        add(started, "tag", TAGS[0].name, category=TAGS[0].category)
        add(started, "tag", TAGS[1].name, category="another")
        define(started, ["Cost"])
        yield started


@pytest.fixture
def name():
    return f"new-{uuid.uuid4().hex[:6]}"


def labels_of(lab: Lab, moref: str):
    with hands(lab) as session:
        values = {one.key: one.value for one in session.vm(moref).customValue}
        keys = attributes.known_attributes(session)
        return (
            {(one.name, one.disk) for one in policies.read_policies(session, moref, [2000])},
            list(vmtags.read_vm_tags(session, moref)),
            {(each, values[key]) for each, key in keys.items() if key in values},
        )


def about(plan, word: str) -> list[str]:
    return [line for line in plan.warnings if word in line]


def test_a_new_vm_has_the_policies_tags_and_attributes_of_the_saved_one(lab, kept, name):
    site, point = kept
    planned = Restoring.new(site, point, name).plan
    lines, warnings = plan_lines(planned), planned.warnings
    assert from_json(RestorePlan, to_json(planned)) == planned, "because Airflow hands it on as JSON"

    made = restore_whole(site, point, new_name=name)

    assert labels_of(lab, made.vm.moref) == ({(GOLD, None), (SILVER, 2000)}, TAGS, {*ATTRIBUTES})
    assert {"it gets the tag Tier/1/front", "its custom attribute 'Cost' is '12'"} <= {*lines}
    assert f"storage policy of Hard disk 1: {SILVER}" in lines
    assert not [line for line in warnings if "policy" in line or "tag" in line or "attribute" in line]


def test_in_another_vcenter_names_count_and_ids_never_and_what_is_missing_is_named_and_not_made(other, kept, name):
    site, point = kept
    going = Restoring.new(site_of(other, site.repository), point, name).prepared().written()

    done = going.finish()

    assert labels_of(other, done.vm.moref) == ({(GOLD, None)}, [TAGS[0]], {("Cost", "12")})
    (policy,), (tag,), (attribute,) = (about(going.plan, word) for word in ("policy", "tag", "attribute"))
    assert f"storage policy '{SILVER}' of Hard disk 1 is not applied, because" in policy
    assert "tags 'team/söuth' are not attached" in tag
    assert "custom attributes 'Owner' = 'Accounting = yes' are not set" in attribute


def test_a_policy_that_was_renamed_is_found_by_its_id_in_its_own_vcenter(lab, kept, name):
    site, point = kept
    add(lab, "storage policy", BRONZE, id=f"here-{SILVER}")
    try:
        assert f"storage policy of Hard disk 1: {BRONZE}" in plan_lines(Restoring.new(site, point, name).plan)
    finally:
        add(lab, "storage policy", SILVER, id=f"here-{SILVER}")


def test_a_policy_that_the_datastore_cannot_hold_is_not_applied(lab, kept, name):
    site, point = kept
    add(lab, "storage policy", GOLD, id=f"here-{GOLD}", datastores=["datastore2"])
    try:
        plan = Restoring.new(site, point, name).plan
        assert about(plan, "datastore datastore1 cannot hold what it asks for")
        assert plan.place.policies == (("Hard disk 1", SILVER),)
        assert not about(Restoring.new(site, point, name, datastore="datastore2").plan, "policy")
    finally:
        add(lab, "storage policy", GOLD, id=f"here-{GOLD}", datastores=["datastore1", "datastore2"])


def test_who_may_not_label_a_vm_restores_it_and_is_told(lab, kept, name):
    site, point = kept
    user = "no-labels@vsphere.local"
    with hands(lab) as session:
        manager = session.content.authorizationManager
        held = next(role for role in manager.roleList if role.name == "Backup").privilege
        role = manager.AddAuthorizationRole(user, [each for each in held if each not in LABELLING])
        allowed = vim.AuthorizationManager.Permission(principal=user, group=False, roleId=role, propagate=True)
        manager.SetEntityPermissions(session.content.rootFolder, [allowed])
    limited = replace(site, vcenter=replace(site.vcenter, user=user))

    plan = Restoring.new(limited, point, name).plan

    assert not about(plan, "policy")
    assert about(plan, "because the user lacks InventoryService.Tagging.AttachTag")
    assert about(plan, "because the user lacks Global.SetCustomField")
    assert (plan.tags, plan.attributes) == ((), ())


def test_services_that_fail_cost_labels_and_no_restore(lab, kept, name):
    site, point = kept
    lab.fault(method="PbmQueryProfile", fault="SystemError", count=9)
    lab.fault(method="automation.POST", status=503, count=9)
    try:
        plan = Restoring.new(site, point, name).plan
    finally:
        lab.clear()

    assert len(about(plan, "is not applied, because")) == 2
    assert about(plan, "tags 'Tier/1/front', 'team/söuth' are not attached, because they cannot be looked for")
    whole = Restoring.new(site, point, name).plan
    with hands(lab) as session:
        lab.fault(method="automation.POST", status=503, count=9)
        try:
            warnings = list(apply_labels(session, whole, lab.vm(VM)["moref"]))
        finally:
            lab.clear()
    (told,) = warnings
    assert told.startswith("tags 'Tier/1/front', 'team/söuth' may be missing")


def test_the_vm_of_a_drill_gets_no_tags_by_which_a_policy_could_choose_it(lab, kept, name):
    site, point = kept

    plan = Restoring.new(site, point, name, drill="a drill").plan

    assert plan.tags == ()
    assert about(plan, "because a policy could choose the VM of a drill by them")
