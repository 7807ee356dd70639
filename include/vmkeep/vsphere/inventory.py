"""Lists VMs, and finds them by name, UUID, managed object id, IP address or DNS name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from vmkeep.errors import AmbiguousError, NotFoundError, SelectorError
from vmkeep.model.point import VmIdentity
from vmkeep.model.selector import KINDS, decode_name, names_meant, path_meant, same_path
from vmkeep.selection import Condition, Kind, Selector, parse_selector
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.candidates import nearest
from vmkeep.vsphere.choosing import choose_vms, resolve
from vmkeep.vsphere.describe import (
    HeldDisk,
    PowerState,
    VmDescription,
    config_xml,
    describe_vm,
    held_disks,
    look_at_held_disks,
    look_at_whole_vm,
)
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.properties import look_at, read, read_all, read_each
from vmkeep.vsphere.records import FIELDS, VmRecord, record_of
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

__all__ = [
    "HeldDisk",
    "PowerState",
    "VmDescription",
    "VmRecord",
    "config_xml",
    "describe_vm",
    "find_by_id",
    "find_moref",
    "find_originals",
    "find_vm",
    "held_disks",
    "identity_of",
    "list_vms",
    "look_at_held_disks",
    "look_at_whole_vm",
]

_NEW_KINDS = "|".join(kind for kind in Kind if kind not in KINDS)
_MEANT = re.compile(
    rf"\s*(?:\(|not\b|\s)*(?:{_NEW_KINDS}):|\s*(?:\(|not\b)+\s*\w+~?:|.*\s(?:and|or)\s+(?:\(|not\b|\s)*\w+~?:\S",
    re.IGNORECASE | re.DOTALL,
)
"""A text that is meant as a selector of more than one of the old kinds, and not as a name."""
_SHOWN = 10
"""Number of candidates that an error message lists."""


def list_vms(session: Session) -> tuple[VmRecord, ...]:
    """Return every VM that the user may see, sorted by name."""
    with speaking("list the VMs"):
        records = [record_of(vm, values) for vm, values in read_all(session, vim.VirtualMachine, *FIELDS)]
    return tuple(sorted(records, key=lambda record: (record.name, record.moref)))


def find_vm(session: Session, selector: str, last_seen: Iterable[Sighting] = ()) -> VmRecord:
    """Return the one VM that a person means, as :func:`find_moref` finds it."""
    moref = find_moref(session, selector, last_seen)
    with speaking(f"find VM {selector}"):
        return record_of(vm := session.vm(moref), read(session, vm, *FIELDS))


def find_moref(session: Session, selector: str, last_seen: Iterable[Sighting] = ()) -> str:
    """Return the id of the one VM that a person means: by its name or path, or by a selector that one VM fits.

    A text may be read in several ways, and all of them are tried: as a whole name, exactly as it is typed, with or
    without ``name:`` before it; as a path, if it begins with ``/``; and as a selector. One VM's name may read like a
    selector of another VM. Then both VMs fit.

    :param last_seen: remembered addresses, by managed object id.
    :raises NotFoundError: no VM fits. For a name, the message suggests similar names.
    :raises AmbiguousError: several VMs fit. The message lists their paths and ids.
    :raises SelectorError: the text was meant as a selector, and cannot be read.
    """
    with speaking(f"find VM {selector}"):
        listed = [(vm, values["name"] or "") for vm, values in read_all(session, vim.VirtualMachine, "name")]
        kind, _, value = selector.partition(":")
        chosen = _FINDERS[kind](session, value) if kind in _FINDERS else []
        found = {moref_of(vm): vm for vm in (*chosen, *_by_name(session, selector, listed))}
        if (tree := _joined(selector, unread=not found)) is not None:
            more = choose_vms(session, tree, last_seen).records
            found |= {record.moref: session.vm(record.moref) for record in more}
        if not found:
            raise _nothing_fits(session, selector, listed)
        if len(found) > 1:
            found = _without_secondaries(session, found)
        if len(found) > 1:
            raise _ambiguous(session, selector, found)
        return next(iter(found))


def _joined(text: str, *, unread: bool) -> Selector | None:
    """Return the selector that a text is; ``None``: it is none, or says no more than the other readings of it.

    :param unread: no other reading has found anything, so that a text that looks like a selector has to be one.
    """
    try:
        tree = parse_selector(text)
    except SelectorError:
        if unread and _MEANT.match(text):
            raise
        return None
    match tree:
        case Condition(Kind.UUID | Kind.MOREF):
            return None
        case Condition(Kind.NAME, value) if not set("*?") & set(value):
            # Blanks around a name are part of it; only its escapes and quotes can say more than the name as it stands.
            return tree if unread and text == text.strip() else None
    return tree


def find_by_id(session: Session, mo_id: str) -> VmRecord:
    """Return the VM with a managed object id.

    :raises NotFoundError: no VM has that id.
    """
    with speaking(f"look for VM {mo_id}"):
        vm = session.vm(mo_id)
        with look_at(session, vm, *FIELDS) if mo_id else nullcontext():
            if not _by_moref(session, mo_id):
                raise NotFoundError(f"no VM with id '{mo_id}' on {session.host}; list them with 'vmkeep vm list'")
            return record_of(vm, read(session, vm, *FIELDS))


def identity_of(session: Session, vm: VmRecord) -> VmIdentity:
    """Return the identity of a VM, even if its configuration cannot be read."""
    with speaking(f"look at VM {vm.moref}"):
        path = inventory_path_of(session, session.vm(vm.moref)).path
    return VmIdentity(
        name=vm.name,
        key=vm.instance_uuid or vm.bios_uuid or vm.moref,
        moref=vm.moref,
        instance_uuid=vm.instance_uuid,
        bios_uuid=vm.bios_uuid,
        vcenter=server_uuid(session),
        inventory_path=path,
        server=session.host,
    )


def _by_name(session: Session, text: str, listed: list[tuple[Any, str]]) -> list[Any]:
    wanted = names_meant(text)
    found = [vm for vm, stored in listed if decode_name(stored) in wanted]
    path = path_meant(text)
    return found if path is None else [*found, *_by_path(session, path, listed)]


def _by_path(session: Session, path: str, listed: list[tuple[Any, str]]) -> list[Any]:
    """Ask the server. If it finds nothing, compare the paths of all VMs of that name.

    A VM may be in a vApp, or the path may leave out the datacenter's hidden folder, as vSphere's clients do.
    """
    vm = session.content.searchIndex.FindByInventoryPath(path)
    if isinstance(vm, vim.VirtualMachine) and same_path(path, inventory_path_of(session, vm).path):
        return [vm]
    name = path.rpartition("/")[2]
    places = [(vm, inventory_path_of(session, vm)) for vm, stored in listed if same_path(name, stored)]
    return [vm for vm, place in places if same_path(path, place.path)] or [
        vm for vm, place in places if same_path(path, place.as_shown)
    ]


def _nothing_fits(session: Session, selector: str, listed: list[tuple[Any, str]]) -> NotFoundError:
    kind, _, value = selector.partition(":")
    if kind in _FINDERS:
        what, near = f"with {_WORDS[kind]} '{value}'", ""
    else:
        name = names_meant(selector)[-1]
        what, near = f"named '{name}'", nearest(name, {decode_name(stored) for _, stored in listed})
    hint = f"did you mean {near}?" if near else "list them with 'vmkeep vm list'"
    return NotFoundError(f"no VM {what} on {session.host}; {hint}")


def find_originals(session: Session, instance_uuid: str) -> tuple[VmRecord, ...]:
    """Return the VMs that have this instance UUID. A name or a BIOS UUID does not count."""
    with speaking(f"find VM uuid:{instance_uuid}"):
        found = [record_of(vm, read(session, vm, *FIELDS)) for vm in all_by_uuid(session, instance_uuid, instance=True)]
    return tuple(record for record in found if record.instance_uuid == instance_uuid)


def _by_uuid(session: Session, text: str) -> list[Any]:
    if not re.fullmatch(r"[0-9a-f]{32}", _digits(text)):
        return []  # because some servers fail for such a text, and others do not
    for instance, path in ((True, "summary.config.instanceUuid"), (False, "summary.config.uuid")):
        candidates = all_by_uuid(session, text, instance=instance)
        found = [vm for vm in candidates if _digits(read(session, vm, path)[path] or "") == _digits(text)]
        if found:
            return found
    return []


def _digits(uuid: str) -> str:
    """Return a UUID without case and dashes, which mean nothing in it."""
    return uuid.lower().replace("-", "")


def all_by_uuid(session: Session, text: str, *, instance: bool) -> list[Any]:
    index, uuid = session.content.searchIndex, text.lower()
    try:
        return list(index.FindAllByUuid(None, uuid, True, instance) or ())
    except vmodl.fault.MethodNotFound:  # a server that knows only the older call, which returns one VM
        found = index.FindByUuid(None, uuid, True, instance)
        return [found] if found is not None else []


def _by_moref(session: Session, mo_id: str) -> list[Any]:
    if not mo_id:
        return []
    vm = session.vm(mo_id)
    try:
        is_a_vm = (
            read(session, vm, "name")["name"] is not None
        )  # for the id of a folder or a pool vSphere answers nothing
    except vmodl.fault.ManagedObjectNotFound:
        return []
    return [vm] if is_a_vm else []


def _by_address(session: Session, text: str) -> list[Any]:
    index = session.content.searchIndex
    try:
        return list(index.FindAllByIp(None, str(ipaddress.ip_address(text)), True) or ())
    except ValueError:
        pass
    found = list(index.FindAllByDnsName(None, text, True) or ())
    return found or [vm for address in resolve(text) for vm in index.FindAllByIp(None, address, True) or ()]


def _without_secondaries(session: Session, found: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the secondaries of fault-tolerant VMs, which have the names of their primaries, if others are left."""
    told = {moref_of(vm): values["config.ftInfo"] for vm, values in read_each(session, found.values(), "config.ftInfo")}
    leading = {mo_id: vm for mo_id, vm in found.items() if not protection.is_secondary(told.get(mo_id))}
    return leading or dict(found)


def _ambiguous(session: Session, selector: str, found: Mapping[str, Any]) -> AmbiguousError:
    shown = [found[mo_id] for mo_id in sorted(found)[:_SHOWN]]  # because each path takes a call
    lines = sorted(f"{inventory_path_of(session, vm).path} (moref:{moref_of(vm)})" for vm in shown)
    rest = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return AmbiguousError(
        f"'{selector}' fits {len(found)} VMs: {', '.join(lines)}{rest}; select one by moref:, or by its path"
    )


_FINDERS: dict[str, Callable[[Session, str], list[Any]]] = {
    "uuid": _by_uuid,
    "moref": _by_moref,
    "ipaddr": _by_address,
}
_WORDS = {"uuid": "UUID", "moref": "id", "ipaddr": "address"}
