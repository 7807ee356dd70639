"""The fields of the restore wizard's forms: what can be restored from a point, and where to. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain, count
from typing import Final

from vmkeep.flows.choices import Host, Machine, Places, Store
from vmkeep.flows.fleet import ListedDisk, ListedPoint
from vmkeep.flows.restore_request import MacAddresses, OnConflict, OnFailure
from vmkeep.model.fieldwords import in_labels
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.portable import PortableMachine
from vmkeep.model.scanning import ScanFirst
from vmkeep.web.forms import Field, FieldGroup, FieldKind, check, checks, select, text
from vmkeep.web.words import plain, shown_size

LONGEST_NAME: Final = 80
"""Characters of a VM's name in vSphere."""
NO_NETWORK: Final = "none"
CARD: Final = "card."
"""Begin of the name of a field for a network card. Its number follows."""
STORE: Final = "store."
"""Begin of the name of a field for the datastore of one disk. The disk's number among :func:`disks_of` follows."""
WHOLE_AS_NEW: Final = "The whole VM, as a new one"
"""The choice that leads to the form for a new VM."""
AN_EXISTING_VM: Final = "The VM, over itself or another one"
"""The choice that leads to the form for an existing VM."""
SINGLE_DISKS: Final = "Single disks, attached to a VM"
"""The choice that leads to the form for single disks."""
Words = Mapping[str, Mapping[str, str]]
"""Plain words for values, by the name of the field."""


class RestoreKind(StrEnum):
    """The thing that is restored, and the way."""

    NEW = "new"
    """The whole VM as a new one."""
    OVER = "over"
    """The VM over itself, or over another one."""
    ATTACH = "attach"
    """Single disks as new disks of a VM."""

    @property
    def heading(self) -> str:
        """The heading of its form."""
        return _HEADINGS[self]

    @property
    def dag_id(self) -> str:
        """The DAG that does it."""
        return "disk_attach" if self is RestoreKind.ATTACH else "vm_restore"


_HEADINGS: Final = {
    RestoreKind.NEW: "Restore to a new VM",
    RestoreKind.OVER: "Restore over an existing VM",
    RestoreKind.ATTACH: "Attach disks to a VM",
}


_NOWHERE: Final = Places(folders=(), pools=(), datastores=(), networks=(), hosts=())


def fields_of(
    kind: RestoreKind,
    point: ListedPoint,
    *,
    places: Places = _NOWHERE,
    machine: PortableMachine | None = None,
    vms: Iterable[Machine] = (),
    words: Words,
) -> tuple[FieldGroup, ...]:
    """Return the fields of a form, as they are at first.

    :param places: for all but :attr:`RestoreKind.OVER`.
    :param machine: the machine of the point, for :attr:`RestoreKind.NEW`; ``None``: its network cards get no field.
    :param vms: the VMs that are proposed. For :attr:`RestoreKind.NEW`: those whose names are taken.
    """
    match kind:
        case RestoreKind.NEW:
            return tuple(_new(point, places, machine, {each.name for each in vms}, words))
        case RestoreKind.OVER:
            return tuple(_over(point, vms, words))
        case RestoreKind.ATTACH:
            return tuple(_attach(point, places, vms))


def said_in_form(message: str, kind: RestoreKind, point: ListedPoint, words: Words) -> str:
    """Return a message of the engine that names fields by the labels of a form."""
    fields = [field for group in fields_of(kind, point, words=words) for field in group.fields]
    labels = {field.name: field.label for field in fields if not field.name.startswith(STORE)}
    chosen = {
        field.name: {each.value: each.label for each in field.choices}
        for field in fields
        if field.kind is FieldKind.SELECT and field.name in words
    }
    said = in_labels(message, _OF_OTHER_PAGES[kind] | labels, chosen)
    for command, here in _OF_COMMANDS.items():
        said = said.replace(command, here)
    return _LISTING.sub("", said)


_OF_COMMANDS: Final = {
    "'vmkeep restore disk'": f"“{SINGLE_DISKS}”",
    "(--read-lun)": "(its field read_luns)",
    "'vmkeep restore accept' removes it or 'vmkeep restore undo' goes back to it (DAGs of these names in Airflow)": (
        "the DAG restore_accept removes it or the DAG restore_undo goes back to it"
    ),
    "with 'vmkeep vm sweep'": "with the DAG snapshot_sweep",
    " ('vmkeep vm clean' lists the last clean ones)": "",
    " ('vmkeep vsphere role' lists the rights that are needed)": "",
}
"""The words of these pages for commands and for options of a backup, which messages name."""
_LISTING: Final = re.compile(r"[;,] (?:see|list them with) 'vmkeep [a-z ]+'")
"""The part of a message that names a command which lists what a form proposes at its field."""
_OF_OTHER_PAGES: Final[Mapping[RestoreKind, dict[str, str]]] = {
    RestoreKind.NEW: {"networks": "Networks", "disk_datastores": "Datastore of a disk", "vm": AN_EXISTING_VM},
    RestoreKind.OVER: {"new_name": WHOLE_AS_NEW},
    RestoreKind.ATTACH: {"new_name": WHOLE_AS_NEW},
}
"""Labels by field, for fields that a form has as several ones or not at all, because another form is about them."""


def _new(
    point: ListedPoint, places: Places, machine: PortableMachine | None, taken: Collection[str], words: Words
) -> Iterator[FieldGroup]:
    rules = (OnConflict.ABORT, OnConflict.KEEP)
    identity = "For a VM that is gone. Leave it, if the new VM runs beside the old."
    macs = [("", "kept if the UUIDs are kept, else new"), *_worded("mac_addresses", MacAddresses, words)]
    yield FieldGroup(
        title="The new VM",
        fields=(
            text("new_name", "Name", value=_free_name(point.vm_name, taken), longest=LONGEST_NAME),
            _choose("on_conflict", "If a VM has the name already", rules, words, "It is never written over."),
            check("keep_identity", "Keep the UUIDs", identity),
            select("mac_addresses", "MAC addresses", macs),
        ),
    )
    yield FieldGroup(
        title="Where",
        fields=(
            _place("folder", "Folder", ((each.choose, "") for each in places.folders)),
            _place("resource_pool", "Resource pool", ((each.choose, f"of {each.of}") for each in places.pools)),
            select("datastore", "Datastore", [("", "as the original"), *_stores(places)]),
            *_disk_stores(point, places),
            select("host", "Host", [("", "one that fits"), *_hosts(places.hosts)]),
        ),
    )
    yield FieldGroup(title="Networks", fields=tuple(_networks(places, machine)))
    yield FieldGroup(title="How", fields=tuple(_how(_IF_NEW_FAILS, words)))


def _free_name(vm: str, taken: Collection[str]) -> str:
    """Return a name for a new VM that no other one has, whatever its case."""
    known = {name.casefold() for name in taken}
    endings = chain(("-restored",), (f"-restored-{number}" for number in count(2)))
    names = (f"{vm[: LONGEST_NAME - len(ending)]}{ending}" for ending in endings)
    return next(name for name in names if name.casefold() not in known)


def _disk_stores(point: ListedPoint, places: Places) -> Iterator[Field]:
    """Yield a field for each disk, if there are several, by which it goes to a datastore of its own."""
    disks = disks_of(point)
    if len(disks) > 1:
        for number, disk in enumerate(disks):
            label, where = f"Datastore of {plain(disk.label)}", f"{disk.address}, {shown_size(disk.capacity)}"
            yield select(f"{STORE}{number}", label, [("", "that of the VM"), *_stores(places)], where)


def _networks(places: Places, machine: PortableMachine | None) -> Iterator[Field]:
    """Yield a field for each network card, by which it goes to a network."""
    networks = [(each.choose, f"{plain(each.choose)} ({plain(each.kind)})") for each in places.networks]
    for number, card in enumerate(machine.cards if machine is not None else ()):
        before = f"as it was: {plain(card.network) or 'not known'}"
        yield select(f"{CARD}{number}", plain(card.label), [("", before), (NO_NETWORK, "no network"), *networks])
    yield check(
        "connect_networks",
        "Connect the cards also while the original runs",
        "Otherwise they start disconnected then, because two machines with the same addresses disturb each other.",
    )


def _over(point: ListedPoint, vms: Iterable[Machine], words: Words) -> Iterator[FieldGroup]:
    rules = (OnConflict.PROMPT, OnConflict.OVERWRITE)
    asked = "With a question, the run waits in Airflow's Required Actions, for up to a day."
    costs = "A snapshot costs space, and every backup reads all until it is removed."
    which = (
        "Empty: the VM that was backed up, and no other. Another one: pick it, or type its name, or uuid:, moref: or "
        "ipaddr: and a value."
    )
    yield FieldGroup(
        title="What is written over",
        fields=(
            text("vm", "VM", which, proposed=_machines(vms)),
            checks("disks", "Disks", _disks(point), "None ticked: all. The others stay as they are."),
            _choose("on_conflict", "Its present content", rules, words, asked),
            _choose("undo", "Way back", tuple(Undo), words, costs),
            check("all_blocks", "Write all blocks", "Otherwise only those that changed since the point."),
        ),
    )
    yield FieldGroup(title="How", fields=tuple(_how(_IF_OVER_FAILS, words)))


def _attach(point: ListedPoint, places: Places, vms: Iterable[Machine]) -> Iterator[FieldGroup]:
    which = "Pick it, or type its name, or uuid:, moref: or ipaddr: and a value. It may be running."
    yield FieldGroup(
        title="Disks",
        fields=(
            checks("disks", "Disks of the point", _disks(point), "They become new disks. Nothing is written over."),
            text("vm", "VM that gets them", which, value=point.vm_name, proposed=_machines(vms)),
            select("datastore", "Datastore", [("", "that of the VM's own files"), *_stores(places)]),
        ),
    )


_IF_NEW_FAILS: Final = {
    OnFailure.REMOVE: "remove the new VM",
    OnFailure.KEEP: "keep the new VM off as it is, so that the restore can go on",
}
_IF_OVER_FAILS: Final = {
    OnFailure.REMOVE: "leave the VM off, with a warning in its notes",
    OnFailure.KEEP: "leave it off, and keep the restore open, so that it can go on",
}


def _how(if_it_fails: Mapping[OnFailure, str], words: Words) -> Iterator[Field]:
    yield select(
        "power_on", "Power on at the end", [("", "if it ran when it was backed up"), ("yes", "yes"), ("no", "no")]
    )
    yield _choose("verify", "Compare afterwards", (Verify.SAMPLE, Verify.ALL, Verify.NONE), words)
    yield _choose("scan", "Scan for malware first", tuple(ScanFirst), words)
    yield select("on_failure", "If the restore fails", if_it_fails.items(), value=OnFailure.REMOVE)


def _choose(name: str, label: str, values: Iterable[StrEnum], words: Words, hint: str = "") -> Field:
    """Return a field whose first choice is chosen."""
    shown = _worded(name, values, words)
    return select(name, label, shown, hint, value=shown[0][0])


def _worded(name: str, values: Iterable[StrEnum], words: Words) -> list[tuple[str, str]]:
    return [(each.value, words.get(name, {}).get(each.value, each.value)) for each in values]


def _place(name: str, label: str, found: Iterable[tuple[str, str]]) -> Field:
    return select(name, label, [("", "as the original"), *_labelled(found)])


def _labelled(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(each, f"{plain(each)}, {plain(more)}" if more else plain(each)) for each, more in found]


def _stores(places: Places) -> list[tuple[str, str]]:
    return _labelled((each.choose, _store(each)) for each in places.datastores)


def _store(store: Store) -> str:
    if not store.accessible:
        return "NOT ACCESSIBLE"
    if store.maintenance:
        return f"in maintenance ({store.maintenance})"
    if store.free is None or store.capacity is None:
        return "free space not known"
    return f"{shown_size(store.free)} free of {shown_size(store.capacity)}"


def _machines(vms: Iterable[Machine]) -> list[tuple[str, str]]:
    return [(each.choose, f"{plain(each.path)}, {'running' if each.runs else 'off'}") for each in vms]


def _hosts(hosts: Iterable[Host]) -> list[tuple[str, str]]:
    return _labelled((each.choose, f"{each.cluster or 'no cluster'}, {each.state}") for each in hosts)


def disks_of(point: ListedPoint) -> tuple[ListedDisk, ...]:
    """Return the disks that the point holds."""
    return tuple(disk for disk in point.disks if disk.skipped is None)


def _disks(point: ListedPoint) -> list[tuple[str, str]]:
    """Return the disks that the point holds, by address."""
    return [
        (disk.address, f"{plain(disk.label)} ({disk.address}), {shown_size(disk.capacity)}") for disk in disks_of(point)
    ]
