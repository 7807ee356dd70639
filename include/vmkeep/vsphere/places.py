"""Finds the place of a new VM: folder, pool, host and datastore, by given names or after the original VM.

Nothing is changed. An error about a name that does not exist lists the names that do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vmkeep.errors import AmbiguousError, NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import VmIdentity
from vmkeep.model.references import NONE_KEPT, References
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.cards import UNKNOWN, Origin
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hosts import Hosts, find_hosts, host_named, require_in_use
from vmkeep.vsphere.names import decode_name, same_path
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.properties import read, read_all, read_each
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

_SHOWN = 20
"""Number of folders that an error message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRequest:
    """The place that a person wants for the new VM. A part that is ``None`` follows the original."""

    datastore: str | None = None
    folder: str | None = None
    """Name of a VM folder, or inventory path that begins with ``/``."""
    resource_pool: str | None = None
    """Name or path of a resource pool, or name of a cluster or host for its root pool."""
    host: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)
    """Label of a saved card, or name or id of its network → name or id of the network to use, or ``none``."""
    disk_datastores: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → name of the datastore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that exists. Ids are managed object ids."""

    name: str
    folder: str
    folder_path: str
    datacenter: str
    datacenter_path: str
    pool: str
    pool_path: str
    host: str
    """The host whose networks, datastores and LUNs are used."""
    host_name: str
    other_hosts: tuple[str, ...] = ()
    """Hosts to try if that one lacks something."""
    by_vsphere: bool = False
    """vSphere chooses the host when the VM is made, because the cluster uses DRS and nobody named a host."""
    datastores: tuple[str, ...]
    """Names of the host's usable datastores, as vSphere stores them."""
    taken_by: str | None
    """Managed object id of the VM that already has the name in that folder."""
    notes: tuple[str, ...] = ()
    """Sentences about the place, for a person to read before anything is made."""
    request: PlaceRequest
    origin: Origin
    """The origin of the saved configuration."""
    same_vcenter: bool
    """This is the vCenter that gave out the ids in the saved configuration."""


def resolve_place(
    session: Session,
    original: VmIdentity,
    request: PlaceRequest,
    name: str,
    *,
    references: References = NONE_KEPT,
) -> Place:
    """Find the place for a new VM called ``name``.

    :param references: the names behind the ids in the saved configuration.
    :raises NotFoundError: a named folder, pool, host or datastore does not exist.
    :raises UsageError: a part was not named, and the original's place is not known either.
    :raises ConflictError: no host there is connected and in use.
    """
    origin = Origin(vcenter=original.vcenter, references=references)
    with speaking(f"find a place for VM {name}"):
        like = _original(session, original)
        folder, vapp = _folder(session, original, request.folder)
        datacenter = _datacenter(session, folder)
        host = host_named(session, datacenter, request.host)
        pool = _pool(session, datacenter, request.resource_pool, host, like)
        hosts = find_hosts(session, pool, named=host, first=like["runtime.host"])
        place = _place(session, folder, pool, hosts, request, name, origin)
        beside = f"the original is in the vApp {vapp}; the new VM is made beside it: move it into a vApp by hand"
        return replace(place, notes=(beside,)) if vapp is not None else place


def reopen_place(
    session: Session,
    settled: SettledPlace,
    request: PlaceRequest,
    name: str,
    *,
    origin: Origin = UNKNOWN,
) -> Place:
    """Return the present state of a place that was settled before. Only a host that vSphere may choose is found anew.

    :raises NotFoundError: the folder, resource pool or host is gone.
    :raises ConflictError: the host is not in use any more.
    """
    with speaking(f"look at the place of VM {name}"):
        folder = session.managed(vim.Folder, settled.folder)
        pool = session.managed(vim.ResourcePool, settled.pool)
        if settled.host:
            host = session.managed(vim.HostSystem, settled.host)
            require_in_use(session, host)
            hosts = Hosts(usable=(host,), by_vsphere=False)
        else:
            hosts = find_hosts(session, pool, named=None, first=None)
        return _place(session, folder, pool, hosts, request, name, origin)


def on_host(session: Session, place: Place, host: str) -> Place:
    """Return the place with another one of its hosts."""
    managed = session.managed(vim.HostSystem, host)
    return replace(
        place, host=host, host_name=read(session, managed, "name")["name"], datastores=_datastores(session, managed)
    )


def _place(
    session: Session, folder: Any, pool: Any, hosts: Hosts, request: PlaceRequest, name: str, origin: Origin
) -> Place:
    host, *others = hosts.usable
    folder_place = inventory_path_of(session, folder)
    return Place(
        name=name,
        folder=moref_of(folder),
        folder_path=folder_place.path,
        datacenter=_inside(folder_place.datacenter_moref, folder_place.path),
        datacenter_path=folder_place.datacenter,
        pool=moref_of(pool),
        pool_path=inventory_path_of(session, pool).path,
        host=moref_of(host),
        host_name=read(session, host, "name")["name"],
        other_hosts=tuple(map(moref_of, others)),
        by_vsphere=hosts.by_vsphere,
        datastores=_datastores(session, host),
        taken_by=_taken(session, folder, name),
        request=request,
        origin=origin,
        same_vcenter=origin.vcenter is not None and origin.vcenter == server_uuid(session),
    )


def _datacenter(session: Session, folder: Any) -> Any:
    place = inventory_path_of(session, folder)
    return session.managed(vim.Datacenter, _inside(place.datacenter_moref, place.path))


def _original(session: Session, original: VmIdentity) -> dict[str, Any]:
    """Return the present place of the original VM, if it is still in this vCenter."""
    found: dict[str, Any] = dict.fromkeys(("parent", "resourcePool", "runtime.host"))
    if original.moref is None or original.vcenter is None or original.vcenter != server_uuid(session):
        return found
    try:
        with speaking("look at the original VM"):
            found |= read(session, session.vm(original.moref), *found)
    except VmKeepError:
        pass  # the original is gone, so its saved path or the request has to name the place
    return found


def _inside(datacenter: str | None, path: str) -> str:
    if datacenter is None:
        raise UsageError(f"{path} is not inside a datacenter: give a VM folder")
    return datacenter


def _folder(session: Session, original: VmIdentity, wanted: str | None) -> tuple[Any, str | None]:
    """Return the folder for a new VM. If the original's vApp led to the folder, return the vApp's path too."""
    if wanted is not None:
        folders = _vm_folders(session)
        return _one(session, "VM folder", wanted, folders, lambda: _candidates(session, folders)), None
    if original.inventory_path is not None:
        path = original.inventory_path.rpartition("/")[0]
        found = _at(session, path) or _vapp_at(session, path)
        if isinstance(found, vim.Folder):
            return found, None
        if isinstance(found, vim.VirtualApp):
            return _folder_of_vapp(session, found), path
    roots = [values["vmFolder"] for _, values in read_all(session, vim.Datacenter, "vmFolder")]
    if len(roots) != 1:
        raise UsageError(f"name the folder for the new VM; {_candidates(session, _vm_folders(session))}")
    return roots[0], None


def _vapp_at(session: Session, path: str) -> Any:
    """Return the vApp with that path. All vApps are compared, because a server may not look for them in VM folders."""
    name = path.rpartition("/")[2]
    vapps = [
        vapp for vapp, values in read_all(session, vim.VirtualApp, "name") if same_path(name, values["name"] or "")
    ]
    return next((vapp for vapp in vapps if same_path(path, inventory_path_of(session, vapp).path)), None)


def _folder_of_vapp(session: Session, vapp: Any) -> Any:
    """Return the VM folder of the outermost vApp, because a vApp inside another one has no folder."""
    while True:
        values = read(session, vapp, "parentFolder", "parentVApp")
        if values["parentFolder"] is not None:
            return values["parentFolder"]
        vapp = values["parentVApp"]


def _at(session: Session, path: str) -> Any:
    """Return the object with exactly this inventory path; ``None``: there is none."""
    found = session.content.searchIndex.FindByInventoryPath(path)
    return found if found is not None and same_path(path, inventory_path_of(session, found).path) else None


def _shown_at(session: Session, path: str, known: Sequence[tuple[str, Any]]) -> list[Any]:
    """Return the known objects that vSphere's clients show at a path, because they leave out a hidden folder."""
    name = decode_name(path.rpartition("/")[2])
    alike = [thing for known_name, thing in known if known_name == name]
    return [thing for thing in alike if same_path(path, inventory_path_of(session, thing).as_shown)]


def _vm_folders(session: Session) -> list[tuple[str, Any]]:
    return [
        (decode_name(values["name"] or ""), folder)
        for folder, values in read_all(session, vim.Folder, "name", "childType")
        if "VirtualMachine" in " ".join(str(kind) for kind in values["childType"] or ())
    ]


def _candidates(session: Session, folders: Sequence[tuple[str, Any]]) -> str:
    paths = sorted(inventory_path_of(session, folder).path for _, folder in folders[:_SHOWN])
    more = f", and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    return f"VM folders are {', '.join(paths)}{more}"


def _pool(session: Session, datacenter: Any, wanted: str | None, host: Any, like: Mapping[str, Any]) -> Any:
    pools = [
        (decode_name(values["name"] or ""), pool, values["owner"], values["parent"])
        for pool, values in read_all(session, vim.ResourcePool, "name", "owner", "parent", under=datacenter)
    ]
    named_owners = read_each(session, {moref_of(owner): owner for _, _, owner, _ in pools}.values(), "name")
    owner_names = {moref_of(owner): decode_name(values["name"] or "") for owner, values in named_owners}
    owners = {moref_of(pool): owner_names.get(moref_of(owner), "") for _, pool, owner, _ in pools}
    roots = {moref_of(pool) for _, pool, owner, parent in pools if moref_of(parent) == moref_of(owner)}
    named = [(owners[moref_of(pool)] if moref_of(pool) in roots else name, pool) for name, pool, _, _ in pools]
    if wanted is not None:
        return _no_vapp(_one(session, "resource pool", wanted, named, lambda: f"there are {_names(named)}"), wanted)
    if host is not None:
        return read(session, read(session, host, "parent")["parent"], "resourcePool")["resourcePool"]
    known = {moref_of(pool): pool for _, pool in named}
    original = _outside_vapps(session, like["resourcePool"])
    if original is not None and moref_of(original) in known:
        return original
    if len(roots) != 1:
        raise UsageError(f"name the resource pool for the new VM: {_names(named)}")
    return known[next(iter(roots))]


def _no_vapp(pool: Any, wanted: str) -> Any:
    if isinstance(pool, vim.VirtualApp):
        raise UnsupportedError(
            f"{wanted} is a vApp, in which no restored VM is made: give a resource pool, and move the VM afterwards"
        )
    return pool


def _outside_vapps(session: Session, pool: Any) -> Any:
    """Return the pool itself, or the pool around its outermost vApp if it lies in one."""
    while isinstance(pool, vim.VirtualApp):
        pool = read(session, pool, "parent")["parent"]
    return pool


def _datastores(session: Session, host: Any) -> tuple[str, ...]:
    stores = read_each(session, read(session, host, "datastore")["datastore"] or (), "name", "summary.accessible")
    return tuple(sorted(values["name"] for _, values in stores if values["summary.accessible"]))


def _taken(session: Session, folder: Any, name: str) -> str | None:
    for vm, values in read_all(session, vim.VirtualMachine, "name", "parent", under=folder):
        parent = values["parent"]
        if parent is not None and moref_of(parent) == moref_of(folder) and decode_name(values["name"] or "") == name:
            return moref_of(vm)
    return None


def _one(
    session: Session, kind: str, wanted: str, known: Sequence[tuple[str, Any]], candidates: Callable[[], str]
) -> Any:
    """Return the one known object with that name or inventory path. A name may look like a path.

    :raises NotFoundError: no object has it.
    :raises AmbiguousError: several objects have it.
    """
    there = _at(session, wanted) if wanted.startswith("/") else None
    by_path = moref_of(there) if there is not None else None
    found = [thing for name, thing in known if name == wanted or moref_of(thing) == by_path]
    if not found and wanted.startswith("/"):
        found = _shown_at(session, wanted, known)
    if not found:
        raise NotFoundError(f"no {kind} '{wanted}'; {candidates()}")
    if len(found) > 1:
        paths = ", ".join(sorted(inventory_path_of(session, thing).path for thing in found))
        raise AmbiguousError(f"{len(found)} {kind}s are named '{wanted}'; give the path of one: {paths}")
    return found[0]


def _names(known: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(sorted({name for name, thing in known if not isinstance(thing, vim.VirtualApp)})) or "none"
