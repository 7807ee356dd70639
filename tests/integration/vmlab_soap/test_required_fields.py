"""Every object of the lab answers with every property, and no answer lacks a required field or has one of a wrong type.

Read as a strict client reads: over the wire, by the API's own tables, the tables of the version that was agreed on.
"""

import pytest
from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, Enum, ManagedObject

from vmlab.soap.values import VERSIONS

PC = vmodl.query.PropertyCollector
KNOWN = frozenset(VERSIONS)


def wrong(value, kind, where):
    """Yield the places inside a value where it is not what the tables say of its type."""
    if isinstance(value, list):
        item = kind.Item if issubclass(kind, list) else object
        for number, one in enumerate(value):
            yield from wrong(one, item, f"{where}[{number}]")
    elif not fits(value, kind):
        yield f"{where}: {type(value).__name__} where {kind.__name__} belongs"
    elif isinstance(value, DataObject):
        yield from wrong_fields(value, where)


def fits(value, kind):
    if kind is object:
        return True
    if kind is type:
        return isinstance(value, type | str)  # the name of a type is all that goes over the wire
    if issubclass(kind, Enum):
        return value in kind.values
    if kind is type:
        return isinstance(value, type)
    return isinstance(value, kind)


def wrong_fields(value, where):
    for info in value._GetPropertyList():
        field = getattr(value, info.name)
        at = f"{where}.{info.name}"
        if field is None or (isinstance(field, list) and not field):
            if not info.flags & F_OPTIONAL and info.name != "dynamicType" and info.version in KNOWN:
                yield f"{at}: required and not set"
        else:
            yield from wrong(field, info.type, at)


def wrong_properties(ref, props):
    for info in type(ref)._GetPropertyList():
        at = f"{type(ref).__name__}.{info.name}"
        if info.name in props:
            yield from wrong(props[info.name], info.type, at)
        elif not info.flags & F_OPTIONAL and info.version in KNOWN and not issubclass(info.type, list):
            yield f"{at}: required and not set"


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
    """Yield every object that can be reached by references, each once, with its properties."""
    waiting, seen = list(starts), set()
    while waiting:
        ref = waiting.pop()
        if ref._moId not in seen:
            seen.add(ref._moId)
            props = everything(content, ref)
            yield ref, props
            waiting.extend(references(list(props.values())))


@pytest.fixture
def inhabited(content, vm_at, run):
    """A lab with snapshots, a task that failed, a view, and collectors; yields these."""
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
        vim.host.NetworkSystem, vim.vm.guest.FileManager, vim.LicenseAssignmentManager,
    } <= seen  # fmt: skip
