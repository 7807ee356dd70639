"""Finds the place of a new VM: folder, pool, host and datastore, by given names or after the original VM.

Nothing is changed. An error about a name that does not exist suggests the nearest names that do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from vmkeep.errors import NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import VmIdentity
from vmkeep.model.references import NONE_KEPT, References
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.candidates import Named, at_path, one_named
from vmkeep.vsphere.cards import UNKNOWN, Origin
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hosts import Hosts, find_hosts, host_named, require_in_use
from vmkeep.vsphere.names import decode_name, same_path
from vmkeep.vsphere.paths import InventoryPath, inventory_path_of
from vmkeep.vsphere.properties import WHOLE, read, read_all, read_each
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.storestates import obstacles_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRequest:
    """The place that a person wants for the new VM. A part that is ``None`` follows the original."""

    datastore: str | None = None
    folder: str | None = None
    """A VM folder. Each object is named by its name, its inventory path or its id, as ``vmkeep target`` shows it."""
    resource_pool: str | None = None
    """A resource pool. A root pool is named by its cluster or host, too."""
    host: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)
    """Label of a saved card, or name or id of its network → the network to use, or ``none``."""
    disk_datastores: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → the datastore."""
    log_directory: str | None = None
    """An existing folder of a datastore: ``[datastore] folder``."""
    suspend_directory: str | None = None
    """An existing folder of a datastore: ``[datastore] folder``."""
    snapshot_directory: str | None = None
    """An existing folder of a datastore: ``[datastore] folder``."""


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
    unusable: tuple[tuple[str, str], ...] = ()
    """Names of the host's other datastores, each with a clause that tells why nothing can be made there."""
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
        folder_place = inventory_path_of(session, folder)
        datacenter = session.managed(vim.Datacenter, _inside(folder_place.datacenter_moref, folder_place.path))
        where = f" in /{folder_place.datacenter}"
        host = host_named(session, datacenter, request.host, where=where)
        pool = _pool(session, datacenter, request.resource_pool, host, like, where=where)
        hosts = find_hosts(session, pool, named=host, first=like["runtime.host"])
        place = _place(session, folder, pool, hosts, request, name, origin)
        beside = f"the folder is that of the vApp {vapp}; the new VM is made beside it: move it into a vApp by hand"
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
    usable, unusable = _datastores(session, managed)
    named = read(session, managed, "name")["name"]
    return replace(place, host=host, host_name=named, datastores=usable, unusable=unusable)


def _place(
    session: Session, folder: Any, pool: Any, hosts: Hosts, request: PlaceRequest, name: str, origin: Origin
) -> Place:
    host, *others = hosts.usable
    folder_place = inventory_path_of(session, folder)
    datastores, unusable = _datastores(session, host)
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
        datastores=datastores,
        unusable=unusable,
        taken_by=_taken(session, folder, name),
        request=_by_plain_names(session, request, folder_place, datastores),
        origin=origin,
        same_vcenter=origin.vcenter is not None and origin.vcenter == server_uuid(session),
    )


def _by_plain_names(
    session: Session, request: PlaceRequest, folder: InventoryPath, datastores: Iterable[str]
) -> PlaceRequest:
    """Return the request with the names of datastores and the ids of networks that it names by path or id.

    In one datacenter no two datastores have one name. So a datastore's name says enough once it is known to be there.
    """
    datacenter = session.managed(vim.Datacenter, _inside(folder.datacenter_moref, folder.path))
    named = {*filter(None, (request.datastore, *request.disk_datastores.values()))}
    unknown = named - set(map(decode_name, datastores))
    stores = _named_oddly(session, Named.DATASTORE, unknown, datacenter, folder.datacenter)
    names = {word: decode_name(read(session, store, "name")["name"]) for word, store in stores.items()}
    paths = {name for name in request.networks.values() if name.startswith("/")}
    networks = _named_oddly(session, Named.NETWORK, paths, datacenter, folder.datacenter)
    return replace(
        request,
        datastore=names.get(request.datastore or "", request.datastore),
        disk_datastores={disk: names.get(name, name) for disk, name in request.disk_datastores.items()},
        networks={old: moref_of(networks[new]) if new in networks else new for old, new in request.networks.items()},
    )


def _named_oddly(session: Session, kind: Named, words: Iterable[str], datacenter: Any, path: str) -> dict[str, Any]:
    """Return the datastores or networks of a datacenter that some words name."""
    wanted = list(words)
    if not wanted:
        return {}
    listed = vim.Datastore if kind is Named.DATASTORE else vim.Network
    known = [
        (decode_name(values["name"] or ""), thing)
        for thing, values in read_all(session, listed, "name", under=datacenter, page=WHOLE)
    ]
    names = {name for name, _ in known}
    # A network's name is no path, even if it looks like one: the host tells which network of that name is meant.
    meant = wanted if kind is Named.DATASTORE else [word for word in wanted if word not in names]
    return {word: one_named(session, kind, word, known, where=f" in /{path}") for word in meant}


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
    """Return the folder for a new VM. If a vApp led to the folder, return the vApp's path too."""
    if wanted is not None:
        try:
            return one_named(session, Named.FOLDER, wanted, _vm_folders(session)), None
        except NotFoundError:
            if (vapp := _vapp_at(session, wanted) if wanted.startswith("/") else None) is None:
                raise
            return _folder_of_vapp(session, vapp), wanted
    if original.inventory_path is not None:
        path = original.inventory_path.rpartition("/")[0]
        found = at_path(session, path) or _vapp_at(session, path)
        if isinstance(found, vim.Folder):
            return found, None
        if isinstance(found, vim.VirtualApp):
            return _folder_of_vapp(session, found), path
    roots = [values["vmFolder"] for _, values in read_all(session, vim.Datacenter, "vmFolder")]
    if len(roots) != 1:
        paths = sorted(inventory_path_of(session, root).path for root in roots)
        raise UsageError(
            f"name the folder for the new VM, such as {', '.join(paths) or 'none'}; all: {Named.FOLDER.lister}"
        )
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


def _vm_folders(session: Session) -> list[tuple[str, Any]]:
    return [
        (decode_name(values["name"] or ""), folder)
        for folder, values in read_all(session, vim.Folder, "name", "childType", page=WHOLE)
        if "VirtualMachine" in " ".join(str(kind) for kind in values["childType"] or ())
    ]


def _pool(
    session: Session, datacenter: Any, wanted: str | None, host: Any, like: Mapping[str, Any], *, where: str
) -> Any:
    pools = [
        (decode_name(values["name"] or ""), pool, values["owner"], values["parent"])
        for pool, values in read_all(session, vim.ResourcePool, "name", "owner", "parent", under=datacenter, page=WHOLE)
    ]
    named_owners = read_each(session, {moref_of(owner): owner for _, _, owner, _ in pools}.values(), "name")
    owner_names = {moref_of(owner): decode_name(values["name"] or "") for owner, values in named_owners}
    owners = {moref_of(pool): owner_names.get(moref_of(owner), "") for _, pool, owner, _ in pools}
    roots = {moref_of(pool) for _, pool, owner, parent in pools if moref_of(parent) == moref_of(owner)}
    named = [(owners[moref_of(pool)] if moref_of(pool) in roots else name, pool) for name, pool, _, _ in pools]
    if wanted is not None:
        vapps = {name for name, pool in named if isinstance(pool, vim.VirtualApp)}
        return _no_vapp(one_named(session, Named.POOL, wanted, named, where=where, leaving_out=vapps), wanted)
    if host is not None:
        return read(session, read(session, host, "parent")["parent"], "resourcePool")["resourcePool"]
    known = {moref_of(pool): pool for _, pool in named}
    original = _outside_vapps(session, like["resourcePool"])
    if original is not None and moref_of(original) in known:
        return original
    if len(roots) != 1:
        raise UsageError(f"name the resource pool for the new VM: {_names(named)}; all: {Named.POOL.lister}")
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


def _datastores(session: Session, host: Any) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the names of a host's datastores that take new files, and the others with their obstacles."""
    found = sorted(obstacles_of(session, read(session, host, "datastore")["datastore"] or (), moref_of(host)).items())
    return tuple(name for name, why in found if not why), tuple((name, why) for name, why in found if why)


def _taken(session: Session, folder: Any, name: str) -> str | None:
    for vm, values in read_all(session, vim.VirtualMachine, "name", "parent", under=folder, page=WHOLE):
        parent = values["parent"]
        if parent is not None and moref_of(parent) == moref_of(folder) and decode_name(values["name"] or "") == name:
            return moref_of(vm)
    return None


def _names(known: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(sorted({name for name, thing in known if not isinstance(thing, vim.VirtualApp)})) or "none"
