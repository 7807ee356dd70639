"""Lists all that a person can choose for a restore: folders, resource pools, datastores, networks, hosts and VMs.

Each list takes the same number of calls whatever the size of the inventory: one view of all objects that the list and
its paths need. Only the list of VMs reads any. ``choose`` is the word that a restore takes for an object, and for no
other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hosts import why_not_in_use
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.networks import opaque_networks, port_groups
from vmkeep.vsphere.properties import WHOLE, read_types
from vmkeep.vsphere.session import Session

_ABOVE = {vim.Folder: ("name", "parent"), vim.Datacenter: ("name", "parent")}
_COMPUTE = ("name", "parent")
_STORE = (
    "name", "parent", "summary.capacity", "summary.freeSpace", "summary.accessible", "summary.maintenanceMode",
    "summary.type",
)  # fmt: skip
_STATE = ("runtime.connectionState", "runtime.inMaintenanceMode", "runtime.powerState")
_RELEASE = ("config.product.version", "config.product.build")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An object that can be chosen for a new VM."""

    choose: str
    """The word for it that a restore takes: its name, or its path or id if the name says too little."""
    name: str
    id: str
    """Managed object id."""
    path: str
    """Inventory path, as vSphere spells it."""
    datacenter: str
    """Name of its datacenter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder(Candidate):
    """A VM folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Candidate):
    """A resource pool that is no vApp."""

    of: str
    """Name of the cluster or host whose resources it shares out."""
    root: bool
    """It is the root pool of a cluster or host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(Candidate):
    """A datastore."""

    kind: str
    capacity: int | None
    """Bytes."""
    free: int | None
    """Bytes."""
    accessible: bool
    maintenance: str | None
    """State of maintenance; ``None``: it is in use as usual."""
    hosts: tuple[str, ...]
    """Names of the hosts that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net(Candidate):
    """A network."""

    kind: str
    switch: str | None
    """Name of its distributed switch."""
    hosts: tuple[str, ...]
    """Names of the hosts that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Candidate):
    """An ESXi host."""

    cluster: str | None
    """``None``: the host is in no cluster."""
    state: str
    """``connected``, or the reason why no VM can be made on it."""
    version: str | None
    build: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Candidate):
    """A VM that is no template."""

    runs: bool
    """It is not off; it may be suspended."""


def list_folders(session: Session) -> tuple[Folder, ...]:
    """Return every VM folder that the user may see, sorted by path."""
    with speaking("list the VM folders"):
        tree = _read(session, {vim.Folder: (*_ABOVE[vim.Folder], "childType")})
    folders = [one for one in tree.of(vim.Folder) if "VirtualMachine" in map(str, tree.values[one]["childType"] or ())]
    words = tree.words(folders, by_path=True)
    return tuple(Folder(**tree.about(one, words)) for one in tree.sorted(folders))


def list_pools(session: Session) -> tuple[Pool, ...]:
    """Return every resource pool that the user may see, sorted by path."""
    with speaking("list the resource pools"):
        tree = _read(session, {vim.ResourcePool: ("name", "parent", "owner"), vim.ComputeResource: _COMPUTE})
    pools = [one for one in tree.of(vim.ResourcePool) if not isinstance(tree.objects[one], vim.VirtualApp)]
    words = tree.words(pools, by_path=True)
    return tuple(
        Pool(
            **tree.about(one, words),
            of=tree.name(moref_of(owner)) if (owner := tree.values[one]["owner"]) is not None else "",
            root=owner is not None and tree.parent(one) == moref_of(owner),
        )
        for one in tree.sorted(pools)
    )


def list_datastores(session: Session) -> tuple[Store, ...]:
    """Return every datastore that the user may see, sorted by path."""
    with speaking("list the datastores"):
        tree = _read(session, {vim.Datastore: _STORE, vim.HostSystem: ("name", "parent", "datastore")})
    stores = tree.of(vim.Datastore)
    words, hosts = tree.words(stores), tree.hosts_by("datastore")
    found = []
    for one in tree.sorted(stores):
        told = tree.values[one]
        maintenance = told["summary.maintenanceMode"]
        found.append(
            Store(
                **tree.about(one, words),
                kind=told["summary.type"] or "",
                capacity=_whole(told["summary.capacity"]),
                free=_whole(told["summary.freeSpace"]),
                accessible=bool(told["summary.accessible"]),
                maintenance=str(maintenance) if maintenance not in (None, "normal") else None,
                hosts=hosts.get(one, ()),
            )
        )
    return tuple(found)


def list_networks(session: Session) -> tuple[Net, ...]:
    """Return every network that the user may see and a card can be connected to, sorted by path."""
    with speaking("list the networks"):
        tree = _read(session, {vim.Network: _COMPUTE, vim.HostSystem: ("name", "parent", "network")})
        networks = {one: tree.objects[one] for one in tree.of(vim.Network)}
        groups = [one for one in networks.values() if isinstance(one, vim.dvs.DistributedVirtualPortgroup)]
        opaque = [one for one in networks.values() if isinstance(one, vim.OpaqueNetwork)]
        special = {one.moref: one for one in (*port_groups(session, groups), *opaque_networks(session, opaque))}
    # A port group that only holds uplinks takes no card.
    unusable = {moref_of(one) for one in (*groups, *opaque)} - special.keys()
    usable = [one for one in networks if one not in unusable]
    words, hosts = tree.words(usable, reserved={"none"}), tree.hosts_by("network")
    return tuple(
        Net(
            **tree.about(one, words),
            kind=str(special[one].kind) if one in special else "standard network",
            switch=special[one].switch_name if one in special else None,
            hosts=hosts.get(one, ()),
        )
        for one in tree.sorted(usable)
    )


def list_hosts(session: Session) -> tuple[Host, ...]:
    """Return every ESXi host that the user may see, sorted by path."""
    with speaking("list the hosts"):
        tree = _read(session, {vim.HostSystem: ("name", "parent", *_STATE, *_RELEASE), vim.ComputeResource: _COMPUTE})
    hosts = tree.of(vim.HostSystem)
    words = tree.words(hosts)
    return tuple(
        Host(
            **tree.about(one, words),
            cluster=tree.name(parent)
            if isinstance(tree.objects.get(parent := tree.parent(one)), vim.ClusterComputeResource)
            else None,
            state=why_not_in_use(tree.values[one]) or "connected",
            version=tree.values[one]["config.product.version"],
            build=tree.values[one]["config.product.build"],
        )
        for one in tree.sorted(hosts)
    )


def list_machines(session: Session) -> tuple[Machine, ...]:
    """Return every VM that the user may see and that is no template, sorted by path."""
    with speaking("list the VMs"):
        tree = _read(session, {vim.VirtualMachine: ("name", "parent", "config.template", "runtime.powerState")})
    machines = [one for one in tree.of(vim.VirtualMachine) if not tree.values[one]["config.template"]]
    names = Counter(map(tree.name, machines))
    # A VM in a vApp has no parent, so that two paths can be alike, and a name with a colon may read like a selector.
    words = {
        one: name if names[name] == 1 and _is_seen_whole(name) and not {":", "/"} & {*name} else f"moref:{one}"
        for one in machines
        for name in [tree.name(one)]
    }
    return tuple(
        Machine(**tree.about(one, words), runs=str(tree.values[one]["runtime.powerState"]) != "poweredOff")
        for one in tree.sorted(machines)
    )


def _read(session: Session, paths_of: Mapping[Any, tuple[str, ...]]) -> _Tree:
    found = read_types(session, {**_ABOVE, **paths_of}, page=WHOLE)
    return _Tree(found)


class _Tree:
    """Objects of the inventory with the properties that were read, by managed object id."""

    def __init__(self, found: Iterable[tuple[Any, dict[str, Any]]]) -> None:
        self.objects: dict[str, Any] = {}
        self.values: dict[str, dict[str, Any]] = {}
        for thing, values in found:
            if values["name"]:  # an object whose name the user may not read cannot be chosen
                self.objects[moref_of(thing)] = thing
                self.values[moref_of(thing)] = values

    def of(self, kind: Any) -> list[str]:
        """Return the ids of the objects of a type."""
        return [one for one, thing in self.objects.items() if isinstance(thing, kind)]

    def name(self, one: str) -> str:
        """Return an object's name as people read it."""
        return decode_name(self.values[one]["name"]) if one in self.values else ""

    def parent(self, one: str) -> str:
        """Return the id of the object around another one."""
        parent = self.values[one]["parent"]
        return moref_of(parent) if parent is not None else ""

    def path(self, one: str) -> str:
        """Return an object's inventory path. The root folder is in no view, and in no path."""
        names: list[str] = []
        while one in self.values:
            names.append(self.values[one]["name"])
            one = self.parent(one)
        return "/" + "/".join(reversed(names))

    def datacenter(self, one: str) -> str:
        """Return the name of an object's datacenter."""
        while one in self.values and not isinstance(self.objects[one], vim.Datacenter):
            one = self.parent(one)
        return self.name(one)

    def sorted(self, ids: Iterable[str]) -> list[str]:
        """Return ids in the order of the objects' paths."""
        return sorted(ids, key=lambda one: (self.path(one), one))

    def about(self, one: str, words: Mapping[str, str]) -> dict[str, Any]:
        """Return the fields that every choice has."""
        return {
            "choose": words[one],
            "name": self.name(one),
            "id": one,
            "path": self.path(one),
            "datacenter": self.datacenter(one),
        }

    def words(self, ids: list[str], *, by_path: bool = False, reserved: Iterable[str] = ()) -> dict[str, str]:
        """Return the word that means each object and no other one: its name, or else its path, or else its id.

        :param by_path: the path goes before the name.
        :param reserved: words that mean something else.
        """
        names = Counter(map(self.name, ids))
        taken = set(reserved)
        chosen = {}
        for one in ids:
            name, path = self.name(one), self.path(one)
            fitting = [
                (name, names[name] == 1 and name not in taken),
                (path, path not in names or (names[path] == 1 and name == path)),
            ]
            alone = [word for word, is_alone in fitting if is_alone and _is_seen_whole(word)]
            chosen[one] = (alone[-1] if by_path else alone[0]) if alone else one
        return chosen

    def hosts_by(self, listing: str) -> dict[str, tuple[str, ...]]:
        """Return the names of the hosts that have a datastore or network, by its id.

        :param listing: the property of a host that lists what it has.
        """
        found: dict[str, list[str]] = {}
        for host in self.of(vim.HostSystem):
            for thing in self.values[host][listing] or ():
                found.setdefault(moref_of(thing), []).append(self.name(host))
        return {one: tuple(sorted(names)) for one, names in found.items()}


def _whole(number: Any) -> int | None:
    """Return a number as Python's own kind, because pyVmomi has one of its own."""
    return None if number is None else int(number)


def _is_seen_whole(word: str) -> bool:
    """Return whether a person who reads a word in a table sees all of it: no blank at its ends, no line break."""
    return word.isprintable() and word == word.strip()
