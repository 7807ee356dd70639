"""The property collector, views and search index, as pyVmomi and other clients use them."""

import threading
import time

import pytest
from pyVmomi import vim, vmodl

from tests.patience import HANG

PC = vmodl.query.PropertyCollector


def view_spec(view, kind, paths):
    traversal = PC.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    start = PC.ObjectSpec(obj=view, skip=True, selectSet=[traversal])
    return PC.FilterSpec(objectSet=[start], propSet=[PC.PropertySpec(type=kind, pathSet=paths)])


def object_spec(obj, paths):
    return PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=obj)], propSet=[PC.PropertySpec(type=type(obj), pathSet=paths)])


@pytest.fixture
def vms(content):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    yield view
    view.Destroy()


def test_every_property_of_every_object_can_be_sent(content):
    view = content.viewManager.CreateContainerView(content.rootFolder, [], True)
    for obj in [content.rootFolder, *view.view]:
        spec = PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=obj)], propSet=[PC.PropertySpec(type=type(obj), all=True)])
        (found,) = content.propertyCollector.RetrieveContents([spec])
        assert {prop.name for prop in found.propSet} >= {"name"}


def test_a_retrieval_is_paged_and_complete(content, vms):
    collector = content.propertyCollector
    spec = view_spec(vms, vim.VirtualMachine, ["name"])
    answer = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=3))
    pages = [answer.objects]
    while answer.token:
        answer = collector.ContinueRetrievePropertiesEx(answer.token)
        pages.append(answer.objects)
    names = sorted(obj.propSet[0].val for page in pages for obj in page)
    assert [len(page) for page in pages] == [3, 3, 2]
    assert names == sorted(vm.name for vm in vms.view)


def test_a_page_token_works_once(content, vms):
    collector = content.propertyCollector
    spec = view_spec(vms, vim.VirtualMachine, ["name"])
    token = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=3)).token
    collector.CancelRetrievePropertiesEx(token)
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(token)


def test_a_path_goes_through_keyed_arrays_and_derived_types(content, vm_at):
    path = "config.hardware.device[2000].backing.fileName"
    (found,) = content.propertyCollector.RetrieveContents([object_spec(vm_at("Production/app01"), [path])])
    assert found.propSet[0].val == "[datastore1] app01/app01.vmdk"


def test_an_unset_property_is_left_out_and_an_unknown_one_is_a_fault(content, vm_at):
    vm = vm_at("Production/web01")
    (found,) = content.propertyCollector.RetrieveContents([object_spec(vm, ["name", "snapshot", "parentVApp"])])
    assert [prop.name for prop in found.propSet] == ["name"]
    for path in ("nonsense", "config.nonsense"):
        with pytest.raises(vmodl.query.InvalidProperty):
            content.propertyCollector.RetrieveContents([object_spec(vm, [path])])


@pytest.mark.parametrize("path", ["summary", "runtime.connectionState", "config.extraConfig", "summary.accessible"])
def test_a_path_is_a_property_of_the_type_that_is_declared_and_not_of_the_object(content, vm_at, path):
    start = PC.ObjectSpec(obj=vm_at("Production/web01"))
    spec = PC.FilterSpec(objectSet=[start], propSet=[PC.PropertySpec(type=vim.ManagedEntity, pathSet=["name", path])])
    for ask in (
        lambda: content.propertyCollector.RetrieveContents([spec]),
        lambda: content.propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions()),
        lambda: content.propertyCollector.CreateFilter(spec, False),
    ):
        with pytest.raises(vmodl.query.InvalidProperty) as caught:
            ask()
        assert caught.value.name == path


def test_a_path_is_checked_also_where_no_object_is_found(content, vms):
    with pytest.raises(vmodl.query.InvalidProperty):
        content.propertyCollector.RetrieveContents([view_spec(vms, vim.HostSystem, ["config.nonsense", "guest"])])


def test_all_properties_of_a_base_type_are_those_of_the_base_type(content, vm_at):
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=vm_at("Production/web01"))],
        propSet=[PC.PropertySpec(type=vim.ManagedEntity, all=True)],
    )
    (found,) = content.propertyCollector.RetrieveContents([spec])
    assert {prop.name for prop in found.propSet} <= {info.name for info in vim.ManagedEntity._GetPropertyList()}


@pytest.mark.parametrize(
    ("kind", "path"),
    [(vim.ManagedEntity, "childEntity"), (vim.Folder, "vmFolder"), (vim.VirtualMachine, "name"), (vim.Folder, "no")],
)
def test_a_traversal_follows_a_reference_of_its_declared_type(content, kind, path):
    walk = PC.TraversalSpec(type=kind, path=path, skip=False)
    start = PC.ObjectSpec(obj=content.rootFolder, selectSet=[walk])
    props = [PC.PropertySpec(type=vim.ManagedEntity, pathSet=["name"])]
    with pytest.raises(vmodl.query.InvalidProperty):
        content.propertyCollector.RetrieveContents([PC.FilterSpec(objectSet=[start], propSet=props)])


def test_a_view_is_of_what_a_container_holds_and_of_entities(content, vm_at):
    manager = content.viewManager
    for container, kind, wrong in (
        (vm_at("Production/web01"), vim.VirtualMachine, "container"),
        (content.rootFolder, vim.Task, "type"),
        (content.rootFolder, vim.view.ContainerView, "type"),
    ):
        with pytest.raises(vmodl.fault.InvalidArgument) as caught:
            manager.CreateContainerView(container, [kind], True)
        assert caught.value.invalidProperty == wrong
    host = vm_at("Production/web01").runtime.host
    assert vm_at("Production/web01") in manager.CreateContainerView(host, [vim.VirtualMachine], True).view


def test_a_missing_object_is_a_fault(content):
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = vim.VirtualMachine("vm-9", content.rootFolder._stub).name


def test_nested_selections_by_name_walk_the_whole_tree(content):
    """The form govmomi and older SDK samples send: named traversals that refer to each other and to themselves."""
    names = [PC.SelectionSpec(name="folder"), PC.SelectionSpec(name="dcVm")]
    folder = PC.TraversalSpec(name="folder", type=vim.Folder, path="childEntity", skip=False, selectSet=names)
    dc_vm = PC.TraversalSpec(name="dcVm", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=names[:1])
    start = PC.ObjectSpec(obj=content.rootFolder, skip=False, selectSet=[folder, dc_vm])
    props = [
        PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"]),
        PC.PropertySpec(type=vim.ManagedEntity, pathSet=["parent"]),
    ]
    found = content.propertyCollector.RetrieveContents([PC.FilterSpec(objectSet=[start], propSet=props)])
    vms = [obj for obj in found if isinstance(obj.obj, vim.VirtualMachine)]
    assert len(vms) == 8
    assert all({prop.name for prop in obj.propSet} == {"name", "parent"} for obj in vms)


def test_a_filter_tells_what_is_there_and_then_only_what_changes(content, vm_at, run):
    vm = vm_at("Test/twin")
    collector = content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(object_spec(vm, ["name", "config.annotation"]), False)
    first = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=5))
    assert first.filterSet[0].objectSet[0].kind == "enter"
    assert collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0)) is None

    run(vm.Reconfigure(vim.vm.ConfigSpec(annotation="seen")))
    second = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=5))
    (change,) = second.filterSet[0].objectSet[0].changeSet
    assert (change.name, change.val) == ("config.annotation", "seen")
    collector.Destroy()


def test_a_waiting_client_is_woken_by_a_change(connect, content, vm_at, run):
    other = connect().content
    vm = vm_at("Test/twin")
    collector = other.propertyCollector
    spec = object_spec(vim.VirtualMachine(vm._moId, other.rootFolder._stub), ["config.annotation"])
    collector.CreateFilter(spec, True)
    version = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=5)).version
    woken = []
    waiter = threading.Thread(
        target=lambda: woken.append(collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=300)))
    )
    waiter.start()
    time.sleep(0.2)
    run(vm.Reconfigure(vim.vm.ConfigSpec(annotation="woken")))
    waiter.join(HANG)
    assert woken[0].filterSet[0].objectSet[0].changeSet[0].val == "woken"


def test_a_wait_can_be_cancelled_and_an_old_version_is_refused(connect, vm_at):
    content = connect().content
    collector = content.propertyCollector
    collector.CreateFilter(object_spec(content.rootFolder, ["name"]), False)
    version = collector.WaitForUpdatesEx("", None).version
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        collector.WaitForUpdatesEx("77", PC.WaitOptions(maxWaitSeconds=0))
    raised = []

    def wait():
        try:
            collector.WaitForUpdates(version)
        except vmodl.fault.RequestCanceled as fault:
            raised.append(fault)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while waiter.is_alive():  # it may not wait yet
        collector.CancelWaitForUpdates()
        waiter.join(0.1)
    assert len(raised) == 1


def test_updates_are_cut_into_answers_of_the_asked_size(connect):
    content = connect().content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    collector = content.propertyCollector
    collector.CreateFilter(view_spec(view, vim.VirtualMachine, ["name"]), False)
    version, seen, truncated = "", [], []
    while (
        answer := collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=0, maxObjectUpdates=3))
    ) is not None:
        version = answer.version
        truncated.append(bool(answer.truncated))
        seen += [update.obj._moId for group in answer.filterSet for update in group.objectSet]
    assert truncated == [True, True, False]
    assert sorted(seen) == sorted(vm._moId for vm in view.view)


def test_an_object_that_goes_leaves_the_filter_and_the_view(connect, vm_at):
    content = connect().content
    folder = vm_at("Test").CreateFolder("going")
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.Folder], True)
    collector = content.propertyCollector
    collector.CreateFilter(view_spec(view, vim.Folder, ["name"]), False)
    version = collector.WaitForUpdatesEx("", None).version
    folder.Destroy()
    answer = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=10))
    gone = [u for group in answer.filterSet for u in group.objectSet if u.kind == "leave"]
    assert [update.obj._moId for update in gone] == [folder._moId]


def test_the_search_index_finds_by_everything_it_should(content, vm_at):
    index, app = content.searchIndex, vm_at("Production/app01")
    center = content.rootFolder.childEntity[0]
    assert index.FindByUuid(None, app.config.uuid, True) == app
    assert index.FindByUuid(center, app.config.instanceUuid, True, True) == app
    assert index.FindAllByUuid(None, app.config.uuid, True) == [app]
    assert index.FindByIp(None, "192.168.10.11", True) == app
    assert index.FindAllByDnsName(None, "APP01.lab.example", True) == [app]
    assert index.FindByDatastorePath(center, "[datastore1] app01/app01.vmx") == app
    assert index.FindByInventoryPath("Lab/host/Cluster1/esx01.localhost").name == "esx01.localhost"
    assert index.FindByUuid(None, "12345678-1234-1234-1234-123456789abc", True) is None
    assert index.FindByInventoryPath("Lab/vm/nothing") is None


def test_a_powered_off_vm_is_found_by_its_last_address(content):
    assert content.searchIndex.FindByIp(None, "192.168.10.31", True).name == "old01"


def test_names_with_spaces_and_escapes_are_found_as_they_are_written(content, vm_at):
    assert vm_at("Test/dätä web%2f01 ☃").name == "dätä web%2f01 ☃"
    assert vm_at("Test/dätä web%2F01 ☃").name == "dätä web%2f01 ☃"


def test_two_vms_of_one_name_are_two(content):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    assert sorted(vm.parent.name for vm in view.view if vm.name == "twin") == ["Production", "Test"]
