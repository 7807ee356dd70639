"""The search index: by inventory path, UUID, IP address, DNS name, datastore path, child name."""

from collections.abc import Callable
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.properties.reading import read_path
from vmlab.managed.properties.views import children
from vmlab.managed.site import Call, Site, method
from vmlab.managed.world import above, root_folder

Index = vim.SearchIndex


@method(Index, "FindByInventoryPath")
def find_by_inventory_path(call: Call, inventoryPath: str) -> Any:
    """Find `DC/vm/folder/name`, or None. A slash inside a name is written %2f."""
    return _first(_seen(call, [find_by_path(call.site, inventoryPath)]))


@method(Index, "FindChild")
def find_child(call: Call, entity: Any, name: str) -> Any:
    """A direct child by name."""
    return _first(_seen(call, [_child(call.site, call.world.entry(entity).ref, name)]))


@method(Index, "FindByUuid")
def find_by_uuid(call: Call, datacenter: Any, uuid: str, vmSearch: bool, instanceUuid: bool | None) -> Any:
    """The first VM or host with a BIOS or instance UUID."""
    return _first(_seen(call, _by_uuid(call, datacenter, uuid, vmSearch, bool(instanceUuid))))


@method(Index, "FindAllByUuid")
def find_all_by_uuid(call: Call, datacenter: Any, uuid: str, vmSearch: bool, instanceUuid: bool | None) -> list[Any]:
    """Every VM or host with a BIOS or instance UUID."""
    return _seen(call, _by_uuid(call, datacenter, uuid, vmSearch, bool(instanceUuid)))


@method(Index, "FindByIp")
def find_by_ip(call: Call, datacenter: Any, ip: str, vmSearch: bool) -> Any:
    """The first VM whose guest reports an address, or reported it last before it went off."""
    return _first(_seen(call, _by_ip(call, datacenter, ip, vmSearch)))


@method(Index, "FindAllByIp")
def find_all_by_ip(call: Call, datacenter: Any, ip: str, vmSearch: bool) -> list[Any]:
    """Every VM whose guest reports an address."""
    return _seen(call, _by_ip(call, datacenter, ip, vmSearch))


@method(Index, "FindByDnsName")
def find_by_dns_name(call: Call, datacenter: Any, dnsName: str, vmSearch: bool) -> Any:
    """The first VM or host with a host name."""
    return _first(_seen(call, _by_dns(call, datacenter, dnsName, vmSearch)))


@method(Index, "FindAllByDnsName")
def find_all_by_dns_name(call: Call, datacenter: Any, dnsName: str, vmSearch: bool) -> list[Any]:
    """Every VM or host with a host name."""
    return _seen(call, _by_dns(call, datacenter, dnsName, vmSearch))


@method(Index, "FindByDatastorePath")
def find_by_datastore_path(call: Call, datacenter: Any, path: str) -> Any:
    """The VM registered from a .vmx file."""
    call.world.entry(datacenter)

    def matches(ref: Any) -> bool:
        return bool(call.world.get(ref, "config").files.vmPathName == path)

    return _first(_seen(call, _vms(call, datacenter, matches)))


def find_by_path(site: Site, path: str) -> Any:
    """The object at an inventory path, or None."""
    found: Any = root_folder(site.world)
    for part in filter(None, path.split("/")):
        found = _child(site, found, part)
        if found is None:
            return None
    return found


def datacenter_of(site: Site, ref: Any) -> Any:
    """The datacenter an object lies in, or None."""
    while ref is not None and not isinstance(ref, vim.Datacenter):
        ref = above(site.world, ref)
    return ref


def _child(site: Site, ref: Any, name: str) -> Any:
    named = [child for child in children(site, ref) if site.world.get(child, "name") == name]
    if not named:
        wanted = name.replace("%2F", "%2f").replace("%5C", "%5c")
        named = [child for child in children(site, ref) if site.world.get(child, "name") == wanted]
    return _first(named)


def _vms(call: Call, datacenter: Any, matches: Callable[[Any], bool]) -> list[Any]:
    if datacenter is not None:
        call.world.entry(datacenter)
    refs = [ref for ref in call.world.all(vim.VirtualMachine) if matches(ref)]
    return [ref for ref in refs if datacenter is None or datacenter_of(call.site, ref) == datacenter]


def _hosts(call: Call, matches: Callable[[Any], bool]) -> list[Any]:
    return [ref for ref in call.world.all(vim.HostSystem) if matches(ref)]


def _by_uuid(call: Call, datacenter: Any, uuid: str, of_vm: bool, instance: bool) -> list[Any]:
    wanted = uuid.lower().replace("-", "").replace(" ", "")
    if len(wanted) != 32:
        raise vmodl.fault.InvalidArgument(invalidProperty="uuid", msg=f"{uuid}: not a UUID")
    path = ("config.instanceUuid" if instance else "config.uuid") if of_vm else "hardware.systemInfo.uuid"

    def matches(ref: Any) -> bool:
        return str(read_path(call.site, ref, path) or "").lower().replace("-", "") == wanted

    return _vms(call, datacenter, matches) if of_vm else _hosts(call, matches)


def _by_ip(call: Call, datacenter: Any, ip: str, of_vm: bool) -> list[Any]:
    def matches(ref: Any) -> bool:
        guest = call.world.get(ref, "guest")
        return guest is not None and (guest.ipAddress == ip or any(ip in nic.ipAddress for nic in guest.net))

    return _vms(call, datacenter, matches) if of_vm else _hosts(call, lambda _: ip == "127.0.0.1")


def _by_dns(call: Call, datacenter: Any, name: str, of_vm: bool) -> list[Any]:
    def matches(ref: Any) -> bool:
        guest = call.world.get(ref, "guest")
        return guest is not None and bool(guest.hostName) and guest.hostName.lower() == name.lower()

    def is_host(ref: Any) -> bool:
        return str(call.world.get(ref, "name")).lower() == name.lower()

    return _vms(call, datacenter, matches) if of_vm else _hosts(call, is_host)


def _seen(call: Call, found: list[Any]) -> list[Any]:
    """Return those of the found objects that the caller may see."""
    sees = call.sees()
    return [ref for ref in found if ref is not None and sees(ref)]


def _first(found: list[Any]) -> Any:
    return found[0] if found else None
