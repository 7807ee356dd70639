"""Selectors against the inventory of a vCenter: which VMs fit, in how many calls."""

from __future__ import annotations

import contextlib

import pytest

from tests.integration.vsphere.conftest import at
from vmkeep.errors import (
    AmbiguousError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    SelectorError,
    TransientError,
    UnsupportedError,
    VSphereError,
)
from vmkeep.selection import parse_selector
from vmkeep.vsphere import choosing, inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.http import exchange
from vmkeep.vsphere.session import open_session
from vmlab.managed.machine import new_guest
from vmlab.managed.site import Injection
from vmlab.managed.vcenter import Tagging

NO_LIMITS = {"cpuAllocation": vim.ResourceAllocationInfo(), "memoryAllocation": vim.ResourceAllocationInfo()}
OLD = "192.0.2.9"
"""An address that nobody has now."""


def moref_of(session, path):
    return session.content.searchIndex.FindByInventoryPath(path)


@pytest.fixture(scope="module")
def furnished(lab):
    """The demo inventory, with a vApp in a vApp, custom attributes, and a VM without addresses."""
    with open_session(at(lab, lab.port)) as session:
        pool = moref_of(session, "Lab/host/Cluster1/Resources/Production")
        folder = moref_of(session, "Lab/vm/Production")
        outer = pool.CreateVApp("shop", vim.ResourceConfigSpec(**NO_LIMITS), vim.vApp.VAppConfigSpec(), folder)
        inner = outer.CreateVApp("front 1/2", vim.ResourceConfigSpec(**NO_LIMITS), vim.vApp.VAppConfigSpec(), None)
        outer.MoveIntoResourcePool([moref_of(session, "Lab/vm/Production/db01")])
        inner.MoveIntoResourcePool([moref_of(session, "Lab/vm/Production/web01")])
        fields = session.content.customFieldsManager
        owner = fields.AddCustomFieldDef("owner", vim.VirtualMachine, None, None)
        fields.AddCustomFieldDef("nobody has it", None, None, None)
        fields.SetField(moref_of(session, "Lab/vm/Production/app01"), owner.key, "Jo Doe")
        tagging = Tagging(lab.site)
        common = {"description": "", "cardinality": "MULTIPLE", "associable_types": []}
        backup = tagging.add_category({"name": "backup", **common})
        site = tagging.add_category({"name": "site", **common, "cardinality": "SINGLE"})
        for category, tag, paths in (
            (backup, "gold", ("Production/app01", "Production/twin")),
            (backup, "never", ("Test/twin",)),
            (site, "nord/süd", ("Production/app01",)),
            (site, "unused", ()),
        ):
            made = tagging.add_tag({"name": tag, "description": "", "category_id": category})
            for path in paths:
                tagging.attach(made, "VirtualMachine", moref_of(session, f"Lab/vm/{path}")._moId)
            if category == backup:
                tagging.attach(made, "Folder", folder._moId)
        old = moref_of(session, "Lab/vm/old01")
        lab.site.world.update(old, guest=new_guest(lab.site.world.get(old, "config")))
    return lab


@pytest.fixture
def names(furnished, session):
    """Choose VMs, and return their names."""

    def choose(text, last_seen=()):
        chosen = choosing.choose_vms(session, parse_selector(text), last_seen)
        return [record.name for record in chosen.records]

    return choose


EVERY = ["app01", "db01", "debian-template", "dätä web/01 ☃", "old01", "twin", "twin", "web01"]


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("any:", EVERY),
        ("none:", []),
        ("name:*01", ["app01", "db01", "old01", "web01"]),
        ("name~:'^(web|db)'", ["db01", "web01"]),
        ("name:'dätä web%2f01 ☃'", ["dätä web/01 ☃"]),
        ("name:'dätä web/01 ☃'", ["dätä web/01 ☃"]),
        ("powerstate:on and not name:twin", ["app01", "db01", "web01"]),
        ("not powerstate:on", ["debian-template", "dätä web/01 ☃", "old01", "twin", "twin"]),
        ("attribute:'owner=Jo Doe'", ["app01"]),
        ("attribute:owner=*", ["app01"]),
        ("folder:Production", ["app01", "db01", "twin", "web01"]),
        ("folder:/Lab/vm/Test", ["dätä web/01 ☃", "twin"]),
        ("folder:/Lab/Test", ["dätä web/01 ☃", "twin"]),
        ("folder:/Lab/Test and folder:/Test", []),
        ("vapp:/Lab/Production/shop", ["db01", "web01"]),
        ("pool:/Lab/Cluster1/Production and powerstate:on", ["db01", "web01"]),
        ("folder:vm and not (folder:Production or folder:Test)", ["debian-template", "old01"]),
        ("vapp:shop", ["db01", "web01"]),
        ("vapp:'shop/front 1%2f2'", ["web01"]),
        ("pool:shop", ["db01", "web01"]),
        ("pool:Resources/Production and powerstate:on", ["db01", "web01"]),
        ("pool:Resources and powerstate:on and not vapp:*", ["app01"]),
        ("cluster:Cluster1 and name:web*", ["web01"]),
        ("not host:* and not cluster:*", []),
        ("datastore:datastore2 or name:old01", ["db01", "debian-template", "old01", "twin"]),
        ("ipaddr:web01.lab.example", ["web01"]),
        ("tag:backup/gold", ["app01", "twin"]),
        ("tag:backup/* and name:twin", ["twin", "twin"]),
        ("name:twin and not tag:backup/never", ["twin"]),
        ("tag:site/nord%2fsüd", ["app01"]),
        ("tag:site/unused or tag:backup/silver", []),
    ],
)
def test_the_vms_that_fit_are_chosen(names, text, fit):
    assert names(text) == fit


def test_each_vm_is_chosen_by_its_own_host_addresses_and_uuids(names, session):
    for record in inventory.list_vms(session):
        for uuid in filter(None, (record.instance_uuid, record.bios_uuid)):
            assert names(f"uuid:{uuid.replace('-', '').upper()} and moref:{record.moref}") == [record.name]
        if record.ip_address:
            assert record.name in names(f"ipaddr:{record.ip_address}")


def test_a_vm_without_an_address_is_chosen_by_the_one_it_had_last(names, session):
    moref = inventory.find_vm(session, "old01").moref
    seen = [Sighting(moref=moref, instance_uuid=None, addresses=(OLD,), dns_name="Old01.lab.example")]

    assert names(f"ipaddr:{OLD}") == []
    assert names(f"ipaddr:{OLD}", seen) == ["old01"]
    assert names("ipaddr:old01.lab.example", seen) == ["old01"]


def test_an_address_that_a_vm_had_once_is_not_its_own_while_it_has_another(names, session):
    web = inventory.find_vm(session, "web01")

    assert names(f"ipaddr:{OLD}", [Sighting(moref=web.moref, instance_uuid=None, addresses=(OLD,))]) == []


def test_a_dns_name_that_no_guest_has_is_looked_up(names, session, monkeypatch):
    web = inventory.find_vm(session, "web01")
    monkeypatch.setattr(choosing, "resolve", lambda name: [web.ip_address] if name == "www.example.com" else [])

    assert names("ipaddr:WWW.example.com.") == ["web01"]
    assert names("ipaddr:nowhere.example.com") == []


def test_a_condition_that_no_vm_fits_is_named(furnished, session):
    text = "name:web01 or folder:Prodution or powerstate:suspended or attribute:owner=Jim"

    notes = choosing.choose_vms(session, parse_selector(text), ()).notes

    assert [note.partition(" fits ")[2].partition(":")[0] for note in notes] == ["folder", "attribute"]


@pytest.mark.parametrize("kind", ["tag:a/b", "attribute:a=b", "folder:x", "cluster:x", "vapp:x"])
def test_an_esxi_host_without_vcenter_refuses_what_only_a_vcenter_knows(kind):
    asked = [parse_selector(kind)]

    choosing.require_told(asked, vcenter=True, host="esx01")
    with pytest.raises(UnsupportedError, match="esx01 is an ESXi host without vCenter, which knows no"):
        choosing.require_told(asked, vcenter=False, host="esx01")


@contextlib.contextmanager
def counted(lab):
    """Count the calls of the body, by method."""
    before = dict(lab.site.faults.calls)
    calls: dict[str, int] = {}
    yield calls
    calls |= {name: many - before.get(name, 0) for name, many in lab.site.faults.calls.items()}


def test_tags_cost_calls_by_their_number_and_not_by_that_of_the_vms(furnished, session):
    for text, gets in (("tag:backup/gold", 1 + 2 + 2), ("tag:*/*", 1 + 2 + 4)):
        with counted(furnished) as calls:
            choosing.choose_vms(session, parse_selector(text), ())
        posts = 1 + (gets - 3) // 2 + 1  # log in, the tags of each category, the VMs of all tags
        assert (calls["automation.GET"], calls["automation.POST"], calls["automation.DELETE"]) == (gets, posts, 1)
        assert calls["RetrievePropertiesEx"] == 1


def test_a_vcenter_that_knows_only_the_older_api_tells_its_tags_too(furnished, names, monkeypatch):
    monkeypatch.setattr(furnished.site, "has_new_automation", False)

    assert names("tag:backup/gold") == ["app01", "twin"]


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError), (503, TransientError),
                          (500, VSphereError)],
)  # fmt: skip
def test_tags_that_the_server_does_not_tell_are_an_error_and_never_no_tags(furnished, names, status, error):
    for call in ("automation.POST", "automation.GET"):
        furnished.site.faults.add(Injection(method=call, status=status))
        with pytest.raises(error):
            names("not tag:backup/never")


def test_a_tag_that_is_deleted_meanwhile_is_as_if_it_had_never_been_there(furnished, names, session, monkeypatch):
    lists = Tagging(furnished.site).tags
    gone = "urn:vmomi:InventoryServiceTag:gone:GLOBAL"
    category = next(key for key, row in Tagging(furnished.site).categories().items() if row["name"] == "backup")
    late = iter([{**lists(), gone: {"category_id": category}}])
    monkeypatch.setattr(Tagging, "tags", lambda _: next(late, None) or lists())

    assert names("tag:backup/gold") == ["app01", "twin"]
    assert next(late, None) is None


def test_a_tag_that_no_vm_has_may_be_one_that_the_user_may_not_read(furnished):
    with open_session(at(furnished, furnished.port, user="readonly@vsphere.local")) as reader:
        notes = choosing.choose_vms(reader, parse_selector("tag:backup/silver"), ()).notes

    assert "System.Read as a global permission" in notes[0]


def test_the_automation_api_of_the_lab_knows_no_session_but_its_own(furnished, session):
    with contextlib.closing(session.open_connection()) as connection:

        def status(path, **headers):
            return exchange(connection, "GET", path, headers=headers, body=None, limit=1 << 20)[0]

        soap = session._stub.cookie.partition("=")[2].strip('"')
        basic = session.basic_authorization()
        for path in ("/api/cis/tagging/tag", "/rest/com/vmware/cis/tagging/tag"):
            assert status(path) == 401
            assert status(path, Cookie=session._stub.cookie) == 401
            assert status(path, **{"vmware-api-session-id": soap}) == 401
            assert status(path, Authorization=basic) == 401


def test_a_selector_of_many_conditions_costs_one_pass_over_vms_and_their_places(furnished, session):
    kinds = "attribute:a=b or folder:x or pool:x or cluster:x or host:x or datastore:x or vapp:x or name:x or uuid:"
    text = kinds + "0" * 32 + " or ipaddr:192.0.2.1 or powerstate:on"
    for wanted, passes in ((text, 2), (f"not ({text} and {text})", 2), ("name:a or name:b", 1)):
        with counted(furnished) as calls:
            choosing.choose_vms(session, parse_selector(wanted), ())
        assert calls.get("RetrievePropertiesEx") == passes
        assert calls.get("CreateContainerView") == passes


def test_where_one_vm_is_needed_a_selector_that_one_fits_is_that_vm(furnished, session):
    for text in ("name:web0*", "vapp:'front 1%2f2'", "(name:*01 and folder:Production) and not name~:'^(app|db)'"):
        assert inventory.find_vm(session, text).name == "web01"
    assert inventory.find_vm(session, "name:'dätä web%2f01 ☃'").name == "dätä web/01 ☃"


def test_where_one_vm_is_needed_several_that_fit_are_listed(furnished, session):
    with pytest.raises(AmbiguousError, match=r"fits 4 VMs: /Lab/vm/\S+ .*moref:vm-\d+"):
        inventory.find_vm(session, "name:*01")


def test_where_one_vm_is_needed_a_selector_that_none_fits_or_nobody_can_read_is_said(furnished, session):
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, "folder:Nowhere")
    with pytest.raises(SelectorError, match="at its end"):
        inventory.find_vm(session, "folder:Production and")
    with pytest.raises(SelectorError, match="there is no 'nmae:'"):
        inventory.find_vm(session, "name:web01 or (nmae:web02)")
    for name in ("web01 and web02", "(old) web01", "not there", "a or b: c", "name:my vm"):
        with pytest.raises(NotFoundError, match="no VM named"):
            inventory.find_vm(session, name)
