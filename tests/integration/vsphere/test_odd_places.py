"""Folders, pools, hosts and datastores are named as they are seen, whatever is in their names."""

from __future__ import annotations

import pytest

from tests.integration.vsphere.conftest import at
from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.vsphere import create, inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.names import decode_name, encode_name
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.places import PlaceRequest, resolve_place
from vmkeep.vsphere.session import open_session
from vmlab.control.additions import add

NAMES = (
    "NAS [prod]", "ds (1)", "a]b", "50%", "a%2fb", "a/b", "/abs", 'rack "6"', "it's", " blank", "blank ", "a  b", "-x",
    "+&=?#;", "ünï ☃", "back\\slash", "a:b@c", ".hidden",
)  # fmt: skip


@pytest.fixture(scope="module")
def odd(lab):
    """A folder, a pool, a host and a datastore of each name, in the lab of this module; the VM that is restored."""
    limits = {"cpuAllocation": vim.ResourceAllocationInfo(), "memoryAllocation": vim.ResourceAllocationInfo()}
    with open_session(at(lab, lab.port)) as session:
        index = session.content.searchIndex
        for name in NAMES:
            index.FindByInventoryPath("Lab/vm/Test").CreateFolder(encode_name(name))
            pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources")
            pool.CreateResourcePool(encode_name(name), vim.ResourceConfigSpec(**limits))
            for kind in ("host", "datastore"):
                add(lab.site, {"kind": kind, "name": encode_name(name)})
        moref = inventory.find_vm(session, "web01").moref
        return inventory.describe_vm(session, moref).identity, inventory.config_xml(session, moref)


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_found_by_the_names_of_its_parts(session, odd, name):
    original, xml = odd
    request = PlaceRequest(folder=name, resource_pool=name, host=name, datastore=name)
    place = resolve_place(session, original, request, "new")
    built = create.plan_vm(session, xml, place, SpecOptions(name="new"))

    assert place.folder_path == f"/Lab/vm/Test/{encode_name(name)}"
    assert place.pool_path == f"/Lab/host/Cluster1/Resources/{encode_name(name)}"
    assert decode_name(place.host_name) == name
    assert decode_name(built.datastore) == name
    assert built.spec.files.vmPathName == f"[{encode_name(name)}]"


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_found_by_the_paths_that_a_plan_shows(session, odd, name):
    original, _ = odd
    shown = resolve_place(session, original, PlaceRequest(folder=name, resource_pool=name), "new")

    again = resolve_place(
        session, original, PlaceRequest(folder=shown.folder_path, resource_pool=shown.pool_path), "new"
    )

    assert (again.folder, again.pool) == (shown.folder, shown.pool)


def test_a_folder_is_found_by_the_path_that_vsphere_shows_and_by_the_whole_path(session, odd):
    original, _ = odd
    for path in ("/Lab/vm/Test", "/Lab/Test"):
        assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder_path == "/Lab/vm/Test"
    with pytest.raises(NotFoundError):
        resolve_place(session, original, PlaceRequest(folder="/Test"), "new")
    named_vm = session.content.searchIndex.FindByInventoryPath("Lab/vm").CreateFolder("vm")
    named_vm.CreateFolder("Test")
    for path, place in (("/Lab/vm/Test", "/Lab/vm/Test"), ("/Lab/vm/vm/Test", "/Lab/vm/vm/Test")):
        assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder_path == place


def test_a_path_of_any_depth_is_read_in_one_call(session, lab):
    folder = session.content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    for name in ("a", "b", "c"):
        folder = folder.CreateFolder(name)
    before = lab.site.faults.calls["RetrievePropertiesEx"]

    assert inventory_path_of(session, folder).path == "/Lab/vm/Test/a/b/c"

    assert lab.site.faults.calls["RetrievePropertiesEx"] - before == 1


def test_a_name_that_is_the_path_of_another_folder_is_refused(session, odd):
    original, _ = odd
    test = session.content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    made = test.CreateFolder(encode_name("/Lab/vm/Production"))

    with pytest.raises(AmbiguousError):
        resolve_place(session, original, PlaceRequest(folder="/Lab/vm/Production"), "new")
    path = inventory_path_of(session, made).path
    assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder == made._moId


@pytest.mark.parametrize("name", ["NAS [prod", "NAS  [prod]", "50", "a%2Fb", "blank  ", "A/B"])
def test_a_place_that_is_nearly_named_is_no_place(session, odd, name):
    original, xml = odd
    for field in ("folder", "resource_pool", "host"):
        with pytest.raises(NotFoundError, match="no "):
            resolve_place(session, original, PlaceRequest(**{field: name}), "new")
    place = resolve_place(session, original, PlaceRequest(datastore=name), "new")
    with pytest.raises(NotFoundError, match="no datastore"):
        create.plan_vm(session, xml, place, SpecOptions(name="new"))
