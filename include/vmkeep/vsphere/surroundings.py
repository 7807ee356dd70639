"""Reads names and parents of the objects around the VMs: folders, pools, vApps, hosts, clusters, datastores.

They are read in one pass, because a vCenter has few of them beside its VMs. Only the needed types are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from vmkeep.selection import Above, Kind
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.properties import read_types
from vmkeep.vsphere.session import Session

_FOLDERS = (vim.Folder, vim.Datacenter, vim.VirtualApp)
_TYPES: dict[Kind, tuple[Any, ...]] = {
    Kind.FOLDER: _FOLDERS,
    Kind.VAPP: _FOLDERS,
    Kind.POOL: (*_FOLDERS, vim.ResourcePool, vim.ComputeResource, vim.ClusterComputeResource),
    Kind.CLUSTER: (vim.HostSystem, vim.ClusterComputeResource),
    Kind.HOST: (vim.HostSystem,),
    Kind.DATASTORE: (vim.Datastore,),
}
_PATHS: dict[Any, tuple[str, ...]] = {
    vim.Datastore: ("name",),
    vim.ClusterComputeResource: ("name", "parent"),
    vim.VirtualApp: ("name", "parent", "parentFolder", "parentVApp"),
}
_NAME_AND_PARENT = ("name", "parent")
_OF_VMS: dict[Kind, tuple[str, ...]] = {
    Kind.FOLDER: ("parent", "parentVApp"),
    Kind.VAPP: ("parent", "parentVApp"),
    Kind.POOL: ("resourcePool",),
    Kind.CLUSTER: ("runtime.host",),
    Kind.HOST: ("runtime.host",),
    Kind.DATASTORE: ("datastore",),
}


def paths_of_vms(kinds: Collection[Kind]) -> tuple[str, ...]:
    """Return the properties of a VM that lead to the objects around it."""
    return tuple(dict.fromkeys(path for kind in kinds for path in _OF_VMS.get(kind, ())))


class Surroundings:
    """The objects around the VMs, by managed object id. The methods take a VM's values of :func:`paths_of_vms`."""

    def __init__(self, objects: dict[str, tuple[Any, dict[str, Any]]]) -> None:
        self._objects = objects
        self._chains: dict[tuple[str, bool], tuple[Any, ...]] = {}

    @classmethod
    def read(cls, session: Session, kinds: Collection[Kind]) -> Surroundings:
        """Read the objects that conditions of these kinds need, in one pass. Without a need, nothing is read."""
        types = dict.fromkeys(each for kind in kinds for each in _TYPES.get(kind, ()))
        if not types:
            return cls({})
        found: dict[str, tuple[Any, dict[str, Any]]] = {}
        for managed, values in read_types(session, {each: _PATHS.get(each, _NAME_AND_PARENT) for each in types}):
            told = {path: value for path, value in values.items() if value is not None}
            found.setdefault(moref_of(managed), (managed, {}))[1].update(told)
        return cls(found)

    def folders(self, values: dict[str, Any]) -> tuple[Above, ...]:
        """Return the objects above a VM, or above its outermost vApp, in the inventory of VMs. Folders count."""
        return self._above(values["parentVApp"] or values["parent"], lambda kind: kind is vim.Folder, by_folder=True)

    def vapps(self, values: dict[str, Any]) -> tuple[Above, ...]:
        """Return the same objects for a VM in a vApp. Only vApps count."""
        return self._above(values["parentVApp"], lambda kind: kind is vim.VirtualApp, by_folder=True)

    def pools(self, values: dict[str, Any]) -> tuple[Above, ...]:
        """Return the objects above a VM in the inventory of hosts."""
        return self._above(
            values["resourcePool"], lambda kind: kind in (vim.ResourcePool, vim.VirtualApp), by_folder=False
        )

    def host(self, values: dict[str, Any]) -> str | None:
        """Return the name of a VM's ESXi host."""
        return self._name(values["runtime.host"])

    def cluster(self, values: dict[str, Any]) -> str | None:
        """Return the name of the cluster of a VM's host."""
        host = values["runtime.host"]
        known = self._objects.get(moref_of(host)) if host is not None else None
        parent = known[1].get("parent") if known is not None else None
        return self._name(parent) if isinstance(parent, vim.ClusterComputeResource) else None

    def datastores(self, values: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of the datastores with a VM's files."""
        return tuple(name for each in values["datastore"] or () if (name := self._name(each)) is not None)

    def _name(self, managed: Any) -> str | None:
        known = self._objects.get(moref_of(managed)) if managed is not None else None
        return known[1].get("name") if known is not None else None

    def _above(self, lowest: Any, counts: Callable[[Any], bool], *, by_folder: bool) -> tuple[Above, ...]:
        return tuple(
            Above(name, counts=counts(type(managed)), hidden=self._is_hidden(managed))
            for managed in self._chain(lowest, by_folder=by_folder)
            if (name := self._name(managed)) is not None
        )

    def _is_hidden(self, managed: Any) -> bool:
        """Return whether vSphere's clients show an object's contents in the place of the object itself."""
        parent = self._objects[moref_of(managed)][1].get("parent")
        if isinstance(managed, vim.Folder):
            return isinstance(parent, vim.Datacenter)
        return isinstance(managed, vim.ResourcePool) and isinstance(parent, vim.ComputeResource)

    def _chain(self, lowest: Any, *, by_folder: bool) -> tuple[Any, ...]:
        """Return an object and all objects above it, from the top, up to one that the user may not see."""
        if lowest is None or moref_of(lowest) not in self._objects:
            return ()
        key = moref_of(lowest), by_folder
        if key not in self._chains:
            values = self._objects[key[0]][1]
            upwards = ("parentVApp", "parentFolder", "parent") if by_folder else ("parent",)
            above = next((values[path] for path in upwards if values.get(path) is not None), None)
            self._chains[key] = (*self._chain(above, by_folder=by_folder), self._objects[key[0]][0])
        return self._chains[key]
