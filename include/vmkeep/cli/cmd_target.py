"""``vmkeep target``: the places that a restore to a new VM can go to."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vmkeep.cli.options import json_option, vcenter_from, vsphere_options
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Verbs
from vmkeep.model.job import to_plain
from vmkeep.model.wording import size

_HOSTS_SHOWN = 3


@click.group(cls=Verbs)
def target() -> None:
    """List the folders, resource pools, datastores, networks, hosts and LUNs that a restore can go to."""


@target.command("folders", examples={"List the VM folders": "vmkeep target folders"})
@vsphere_options
@json_option
def folders(as_json: bool, **vsphere: str | None) -> None:
    """List the VM folders.

    The first column is the word for 'restore run --folder'. In a path, vSphere writes a slash within a name as %2f.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_folders(vcenter_from(**vsphere))
    _print(found, ("folder", "id"), [(one.choose, one.id) for one in found], as_json=as_json)


@target.command("pools", examples={"List the resource pools": "vmkeep target pools"})
@vsphere_options
@json_option
def pools(as_json: bool, **vsphere: str | None) -> None:
    """List the resource pools.

    The first column is the word for 'restore run --resource-pool'. The root pool of a cluster or host is also meant by
    the name of that cluster or host. A vApp is not listed, because no restored VM is made in one.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_pools(vcenter_from(**vsphere))
    rows = [(one.choose, f"{one.of}{' (root)' if one.root else ''}", one.id) for one in found]
    _print(found, ("resource pool", "of", "id"), rows, as_json=as_json)


@target.command(
    "datastores",
    examples={
        "List the datastores with their free space": "vmkeep target datastores",
        "List them for a script": "vmkeep target datastores --json",
    },
)
@vsphere_options
@json_option
def datastores(as_json: bool, **vsphere: str | None) -> None:
    """List the datastores, with free space, capacity and hosts.

    The first column is the word for 'restore run --datastore' and '--disk-datastore'. It is the name, or the path if
    another datacenter has a datastore of that name.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_datastores(vcenter_from(**vsphere))
    rows = [
        (
            one.choose, _bytes(one.free), _bytes(one.capacity), one.kind,
            one.maintenance or ("usable" if one.accessible else "NOT ACCESSIBLE"),
            _hosts(one.hosts), one.datacenter, one.id,
        )
        for one in found
    ]  # fmt: skip
    headings = ("datastore", "free", "capacity", "type", "state", "hosts", "datacenter", "id")
    _print(found, headings, rows, as_json=as_json, first_to_go=("datacenter", "type", "hosts"))


@target.command("networks", examples={"List the networks": "vmkeep target networks"})
@vsphere_options
@json_option
def networks(as_json: bool, **vsphere: str | None) -> None:
    """List the networks, with kind and hosts.

    The first column is the word for NEW in 'restore run --network OLD=NEW'. It is the name, or the path if several
    networks have that name.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_networks(vcenter_from(**vsphere))
    rows = [(one.choose, one.kind, one.switch or "", _hosts(one.hosts), one.datacenter, one.id) for one in found]
    headings = ("network", "kind", "switch", "hosts", "datacenter", "id")
    _print(found, headings, rows, as_json=as_json, first_to_go=("datacenter", "switch"))


@target.command("hosts", examples={"List the ESXi hosts": "vmkeep target hosts"})
@vsphere_options
@json_option
def hosts(as_json: bool, **vsphere: str | None) -> None:
    """List the ESXi hosts, with cluster, state and version.

    The first column is the word for 'restore run --host'. The state tells why no VM can be made on a host.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_hosts(vcenter_from(**vsphere))
    rows = [
        (
            one.choose, one.cluster or "", one.state, f"{one.version} ({one.build})" if one.version else "",
            one.datacenter, one.id,
        )
        for one in found
    ]  # fmt: skip
    headings = ("host", "cluster", "state", "ESXi", "datacenter", "id")
    _print(found, headings, rows, as_json=as_json, first_to_go=("datacenter", "ESXi"))


@target.command("luns", examples={"List the LUNs for raw device mappings": "vmkeep target luns"})
@vsphere_options
@json_option
def luns(as_json: bool, **vsphere: str | None) -> None:
    """List the LUNs for raw device mappings, with size, use and hosts.

    The first column is the word for LUN in 'restore run --lun DISK=LUN'. A restore maps no LUN that is in use. A free
    one may hold data all the same, which only its partitions show here.
    """
    from vmkeep.flows import choices  # takes time to import

    found = choices.list_luns(vcenter_from(**vsphere))
    rows = [
        (one.choose, size(one.capacity), one.use or "free", "; ".join(filter(None, (one.holds, one.aside))),
         _hosts(one.hosts), one.uuid)
        for one in found
    ]  # fmt: skip
    headings = ("LUN", "size", "use", "about it", "hosts", "uuid")
    _print(found, headings, rows, as_json=as_json, first_to_go=("uuid", "hosts"))


def _print(
    found: Sequence[object],
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    as_json: bool,
    first_to_go: Sequence[str] = (),
) -> None:
    if as_json:
        print_json([to_plain(one) for one in found])
    else:
        print_table(headings, rows, first_to_go=first_to_go, none="vSphere shows none to this user")


def _bytes(number: int | None) -> str:
    return "unknown" if number is None else size(number)


def _hosts(names: Sequence[str]) -> str:
    """Return the names of a few hosts, and the number of the others."""
    more = len(names) - _HOSTS_SHOWN
    shown = names if more <= 1 else names[:_HOSTS_SHOWN]
    return ", ".join(shown) + (f", and {more} more" if more > 1 else "")
