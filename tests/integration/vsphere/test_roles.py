"""A command makes the role of the backup user: never by halves, taking nothing away, and twice changes nothing."""

from __future__ import annotations

import json
import re

import pytest

from tests.command_line import run_here
from tests.integration.vsphere.conftest import at
from vmkeep.errors import ConflictError, NotFoundError, PermissionDeniedError, UsageError, VSphereError
from vmkeep.flows.rights import needed_rights
from vmkeep.flows.role_setup import RoleRequest, set_up_role
from vmkeep.vsphere import roles
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import open_session

USER = "keeper@vsphere.local"
CHANGING = {"AddAuthorizationRole", "UpdateAuthorizationRole", "SetEntityPermissions", "RemoveEntityPermission"}


@pytest.fixture
def reach(lab):
    """The lab, for the administrator or for somebody else."""
    return lambda **changes: at(lab, lab.port, **changes)


@pytest.fixture
def wish(request):
    """A request for a role of the test's own."""

    def make(**given):
        return RoleRequest(**{"name": f"vmkeep {request.node.name}"[:70], **given})

    return make


@pytest.fixture
def manager(reach):
    with open_session(reach()) as session:
        yield session.content.authorizationManager


def role_named(session, name):
    return next((role for role in roles.list_roles(session) if role.name == name), None)


def test_the_role_has_exactly_the_rights_of_the_table_and_a_second_call_changes_nothing(lab, reach, session, wish):
    wanted = {right.privilege for _, right in needed_rights(None)}

    first = set_up_role(reach(), wish(), dry_run=False)
    lab.site.faults.calls.clear()
    second = set_up_role(reach(), wish(), dry_run=False)

    assert (first.exists, set(first.adds)) == (False, wanted)
    assert role_named(session, wish().name).privileges == wanted
    assert not second.changes
    assert CHANGING & set(lab.site.faults.calls) == set()


def test_a_plan_changes_nothing(reach, session, wish):
    plan = set_up_role(reach(), wish(assign=USER, on="/"), dry_run=True)

    assert plan.changes
    assert role_named(session, wish().name) is None


def test_missing_privileges_are_added_and_no_other_is_taken_away_unless_that_is_asked(reach, session, manager, wish):
    manager.AddAuthorizationRole(wish().name, ["Datastore.Browse", "Alarm.Create"])

    added = set_up_role(reach(), wish(purposes=("backup",)), dry_run=False)
    kept = role_named(session, wish().name).privileges
    removed = set_up_role(reach(), wish(purposes=("backup",), remove_others=True), dry_run=False)

    assert "Datastore.Browse" in added.keeps
    assert added.others == ("Alarm.Create",)
    assert "Alarm.Create" in kept
    assert removed.removes == ("Alarm.Create",)
    assert role_named(session, wish().name).privileges == {right.privilege for _, right in needed_rights("backup")}


def test_a_role_is_granted_once_and_the_user_can_then_log_in_with_it(reach, wish):
    first = set_up_role(reach(), wish(assign=USER, on="/"), dry_run=False)
    again = set_up_role(reach(), wish(assign=f"VSPHERE.LOCAL\\{USER.partition('@')[0].upper()}", on="/"), dry_run=True)

    assert (first.granted, first.changes) == (False, True)
    assert (again.granted, again.changes) == (True, False)
    with open_session(reach(user=USER)) as session:
        assert session.user_name.lower().endswith("keeper")


def test_a_grant_that_takes_privileges_from_the_user_is_refused_before_anything_is_changed(reach, session, wish):
    request = wish(assign="administrator@vsphere.local", on="/Lab")

    with pytest.raises(ConflictError, match=r"would be lost.*--replace"):
        set_up_role(reach(), request, dry_run=False)

    assert role_named(session, request.name) is None


def test_privileges_that_the_user_has_by_a_group_are_weighed_too(lab, reach, session, wish, monkeypatch):
    real = lab.site.access.allowed
    monkeypatch.setattr(lab.site.access, "allowed", lambda user, *asked: user == USER or real(user, *asked))

    with pytest.raises(ConflictError, match="by a role or by a group"):
        set_up_role(reach(), wish(assign=USER, on="/"), dry_run=False)

    assert role_named(session, wish().name) is None


def test_who_lacks_a_privilege_cannot_give_it_and_is_told_before_anything_is_changed(reach, session, wish):
    with pytest.raises(PermissionDeniedError, match=r"Authorization\.ModifyRoles"):
        set_up_role(reach(user="backup@vsphere.local"), wish(), dry_run=False)

    assert role_named(session, wish().name) is None


HOSTS = "Host.Config.Firmware"
MAKE, GRANT = "Authorization.ModifyRoles", "Authorization.ModifyPermissions"


@pytest.mark.parametrize(
    ("held", "given", "named"),
    [([MAKE], {}, HOSTS), ([MAKE, HOSTS], {"assign": "newcomer@vsphere.local", "on": "/"}, GRANT)],
    ids=["a privilege of the role", "the right to grant it"],
)
def test_a_right_that_only_a_later_step_needs_is_asked_for_before_the_first(
    reach, session, manager, wish, held, given, named
):
    helper = "helper@vsphere.local"
    role = manager.AddAuthorizationRole(f"of {helper} {named}", held)
    permission = vim.AuthorizationManager.Permission(principal=helper, group=False, roleId=role, propagate=True)
    manager.SetEntityPermissions(session.content.rootFolder, [permission])

    with pytest.raises(PermissionDeniedError, match=re.escape(named)):
        set_up_role(reach(user=helper), wish(purposes=("host-backup",), **given), dry_run=False)

    assert role_named(session, wish().name) is None


def test_a_role_that_comes_out_with_fewer_privileges_is_not_called_done(monkeypatch, reach, wish):
    make = roles.make_role
    monkeypatch.setattr(roles, "make_role", lambda session, name, wanted: make(session, name, sorted(wanted)[1:]))

    with pytest.raises(VSphereError, match="with its privileges: look at the role"):
        set_up_role(reach(), wish(), dry_run=False)


@pytest.mark.parametrize(
    ("path", "above"), [("/Lab/vm", "the datacenter"), ("/Lab/host/Cluster1/Resources", "the cluster or host")]
)
def test_an_object_that_takes_no_grants_is_refused_with_the_one_that_does(reach, wish, path, above):
    with pytest.raises(UsageError, match=above):
        set_up_role(reach(), wish(assign=USER, on=path), dry_run=True)


def test_an_unknown_object_and_an_unknown_user_are_told_by_name(reach, wish):
    with pytest.raises(NotFoundError, match="'/Lab/vm/Nowhere' is not in the inventory"):
        set_up_role(reach(), wish(assign=USER, on="/Lab/vm/Nowhere"), dry_run=True)
    with pytest.raises(NotFoundError, match="knows no user 'keeper@elsewhere'"):
        set_up_role(reach(), wish(assign="keeper@elsewhere", on="/"), dry_run=False)


def test_a_grant_below_the_root_names_the_rights_that_count_on_the_root_alone(reach, wish):
    plan = set_up_role(reach(), wish(assign=USER, on="/Lab/vm/Production"), dry_run=True)

    assert {"Global.DisableMethods", "Global.EnableMethods"} <= set(plan.root_only)


def test_a_role_of_vsphere_s_own_is_never_changed(reach):
    with pytest.raises(UsageError, match="belongs to vSphere"):
        set_up_role(reach(), RoleRequest(name="ReadOnly"), dry_run=False)


@pytest.mark.parametrize(("given", "missing"), [({"assign": USER}, "--on"), ({"on": "/"}, "--assign")])
def test_a_user_without_an_object_and_an_object_without_a_user_are_refused(reach, wish, given, missing):
    with pytest.raises(UsageError, match=f"needs {missing}"):
        set_up_role(reach(), wish(**given), dry_run=True)


def test_a_grant_that_is_lost_on_the_way_is_not_called_done(monkeypatch, reach, wish):
    monkeypatch.setattr(roles, "grants_on", lambda *_: ())

    with pytest.raises(VSphereError, match="does not list it"):
        set_up_role(reach(), wish(assign=USER, on="/Lab/vm/Test"), dry_run=False)


def test_the_command_tells_the_difference_as_data(lab, reach):
    login = reach()
    told = run_here(
        "setup", "role", "--name", "by command", "--for", "host-backup", "--plan", "--json",
        VMKEEP_VCENTER=f"{login.host}:{login.port}", VMKEEP_USER=login.user, VMKEEP_PASSWORD=login.password,
        VMKEEP_THUMBPRINT=login.thumbprint, VMKEEP_CA_FILE=None,
    )  # fmt: skip

    document = json.loads(told.stdout)
    assert (document["adds"], document["changes"], document["carried_out"]) == (["Host.Config.Firmware"], True, False)


def test_a_grant_that_does_not_count_below_its_object_is_not_taken_for_the_role(reach, session, manager, wish):
    set_up_role(reach(), wish(), dry_run=False)
    role = role_named(session, wish().name)
    narrow = vim.AuthorizationManager.Permission(principal=USER, group=False, roleId=role.id, propagate=False)
    manager.SetEntityPermissions(session.content.rootFolder, [narrow])
    try:
        told = set_up_role(reach(), wish(assign=USER, on="/"), dry_run=False)
        (mine,) = [each for each in manager.RetrieveEntityPermissions(session.content.rootFolder, False)
                   if roles.normal_user(each.principal) == USER]  # fmt: skip
    finally:
        manager.RemoveEntityPermission(session.content.rootFolder, USER, False)

    assert told.changes
    assert mine.propagate
