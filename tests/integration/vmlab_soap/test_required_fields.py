"""Every object of the lab answers with every property, and no answer lacks a required field or has one of a wrong type.

Read as a strict client reads: over the wire, by the API's own tables, the tables of the version that was agreed on.
"""

import ssl

import pytest
from pyVmomi import SoapStubAdapter, vim, vmodl
from pyVmomi.VmomiSupport import DataObject, ManagedObject

from tests.integration.vmlab_soap.tables import wrong_properties

PC = vmodl.query.PropertyCollector


def everything(content, ref):
    """Every property of an object, as the property collector sends them: {name: value}."""
    spec = PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=ref)], propSet=[PC.PropertySpec(type=type(ref), all=True)])
    (found,) = content.propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions()).objects
    return {prop.name: prop.val for prop in found.propSet}


def references(value):
    """Yield every managed object a value names."""
    if isinstance(value, ManagedObject):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, DataObject):
        for info in value._GetPropertyList():
            yield from references(getattr(value, info.name))


def walk(content, *starts):
    """Yield every object that can be reached by references, each once, with its properties.

    Only a task may name an object that is gone: a snapshot that it made, and another one removed.
    """
    waiting, seen = list(starts), set()
    while waiting:
        ref = waiting.pop()
        if ref._moId not in seen:
            seen.add(ref._moId)
            props = everything(content, ref)
            yield ref, props
            found = references(list(props.values()))
            waiting.extend(found if not isinstance(ref, vim.Task) else [one for one in found if exists(content, one)])


def exists(content, ref):
    try:
        everything(content, ref)
    except vmodl.fault.ManagedObjectNotFound:
        return False
    return True


@pytest.fixture
def inhabited(content, vm_at, run, lab):
    """A lab with snapshots, a task that failed, a lost VM, a vApp, a third host, a view, and collectors."""
    for kind in ("host", "datastore", "network"):
        lab.post("inventory/add", {"kind": kind, "name": f"one [more] {kind}"})
    lab.post("vm/connection", {"vm": "old01", "state": "inaccessible"})
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    folder = content.searchIndex.FindByInventoryPath("Lab/vm")
    spec = vim.ResourceConfigSpec(
        cpuAllocation=pool.config.cpuAllocation, memoryAllocation=pool.config.memoryAllocation
    )
    app = pool.CreateVApp("app", spec, vim.vApp.VAppConfigSpec(), folder)
    app.MoveIntoResourcePool([vm_at("Test/twin")])
    vm = vm_at("Production/web01")
    run(vm.CreateSnapshot_Task("one", "", False, False))
    run(vm.CreateSnapshot_Task("two", "", True, False))
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.PowerOnVM_Task(None))
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    tasks = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec())
    events = content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
    yield [view, tasks, events]
    for ref in (tasks, events):
        ref.DestroyCollector()
    view.DestroyView()
    run(vm.RemoveAllSnapshots_Task())


def test_every_object_tells_every_required_field_and_each_of_its_declared_type(content, inhabited):
    seen, problems = set(), set()

    for ref, props in walk(content, vim.ServiceInstance("ServiceInstance"), *references(content), *inhabited):
        seen.add(type(ref))
        problems.update(wrong_properties(ref, props))

    assert not problems
    assert {
        vim.Folder, vim.Datacenter, vim.ClusterComputeResource, vim.HostSystem, vim.ResourcePool, vim.Datastore,
        vim.Network, vim.VirtualMachine, vim.vm.Snapshot, vim.Task, vim.EnvironmentBrowser, vim.host.DatastoreBrowser,
        vim.VirtualApp, vim.host.NetworkSystem, vim.vm.guest.FileManager, vim.LicenseAssignmentManager,
    } <= seen  # fmt: skip


def test_a_client_of_an_older_version_can_read_everything_too(lab):
    context = ssl.create_default_context(cafile=lab.info["certificate"])
    stub = SoapStubAdapter(host=lab.host, port=lab.port, sslContext=context, version="vim.version.version11")
    instance = vim.ServiceInstance("ServiceInstance", stub)
    content = instance.RetrieveContent()
    content.sessionManager.Login(lab.user, lab.password)

    seen = {type(ref) for ref, _ in walk(content, instance, *references(content))}
    content.sessionManager.Logout()
    stub.DropConnections()

    assert {vim.VirtualMachine, vim.HostSystem, vim.EnvironmentBrowser, vim.host.StorageSystem} <= seen
