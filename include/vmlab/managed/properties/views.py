"""Views: container views that stay current, and lists. They belong to a session and end with it."""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.properties.reading import read_property
from vmlab.managed.site import Call, Site, computed, method

CHILDREN: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (vim.Folder, ("childEntity",)),
    (vim.Datacenter, ("vmFolder", "hostFolder", "datastoreFolder", "networkFolder")),
    (vim.ComputeResource, ("host", "resourcePool")),
    (vim.ResourcePool, ("resourcePool", "vm")),
    (vim.HostSystem, ("vm",)),
)
"""The properties that hold a container's children, by type."""
CONTAINERS = tuple(kind for kind, _ in CHILDREN)


def children(site: Site, ref: Any) -> list[Any]:
    """The objects directly in a container."""
    found: list[Any] = []
    for kind, names in CHILDREN:
        if isinstance(ref, kind):
            for name in names:
                value = read_property(site, ref, name)
                found += value if isinstance(value, list) else [value] if value is not None else []
    return found


@method(vim.view.ViewManager, "CreateContainerView")
def create_container_view(call: Call, container: Any, type: list[Any], recursive: bool) -> Any:
    """Make a view of the objects in a container, of the given types or of all."""
    if not isinstance(call.world.entry(container).ref, CONTAINERS):
        raise vmodl.fault.InvalidArgument(invalidProperty="container", msg=f"{container._moId} contains nothing")
    for wanted in type:
        if not issubclass(wanted, vim.ManagedEntity):
            raise vmodl.fault.InvalidArgument(invalidProperty="type", msg=f"{wanted.__name__} is no entity's type")
    return _own(call, vim.view.ContainerView, container=container, type=type, recursive=recursive)


@method(vim.view.ViewManager, "CreateListView")
def create_list_view(call: Call, obj: list[Any]) -> Any:
    """A view of given objects."""
    return _own(call, vim.view.ListView, view=[ref for ref in obj if call.world.exists(ref)])


@method(vim.view.ListView, "ModifyListView")
def modify_list_view(call: Call, add: list[Any], remove: list[Any]) -> list[Any]:
    """Add and remove objects; answers those that do not exist."""
    gone = {ref._moId for ref in remove}
    kept = [ref for ref in call.world.get(call.this, "view") if ref._moId not in gone]
    call.world.update(call.this, view=kept + [ref for ref in add if call.world.exists(ref) and ref not in kept])
    return [ref for ref in add if not call.world.exists(ref)]


@method(vim.view.ListView, "ResetListView")
def reset_list_view(call: Call, obj: list[Any]) -> list[Any]:
    """Replace the objects; answers those that do not exist."""
    call.world.update(call.this, view=[ref for ref in obj if call.world.exists(ref)])
    return [ref for ref in obj if not call.world.exists(ref)]


@method(vim.view.View, "DestroyView")
def destroy_view(call: Call) -> None:
    """Forget a view."""
    call.world.remove(call.this)


@computed(vim.view.ContainerView, "view")
def container_view(site: Site, ref: Any) -> list[Any]:
    """The objects that the container holds now, each once."""
    props = site.world.entry(ref).props
    wanted = tuple(props["type"])
    found: dict[str, Any] = {}
    seen: set[str] = set()

    def walk(container: Any) -> None:
        for child in children(site, container):
            if not wanted or isinstance(child, wanted):
                found.setdefault(child._moId, child)
            if props["recursive"] and child._moId not in seen:
                seen.add(child._moId)
                walk(child)

    if site.world.exists(props["container"]):
        walk(props["container"])
    return list(found.values())


@computed(vim.view.ViewManager, "viewList")
def view_list(site: Site, _: Any) -> list[Any]:
    """All views."""
    return site.world.all(vim.view.View)


def _own(call: Call, kind: Any, **props: Any) -> Any:
    assert call.session is not None
    ref = call.world.passing_ref(kind, "session-view")
    call.session.objects.add(ref._moId)
    return call.world.add(ref, lasting=False, **props)
