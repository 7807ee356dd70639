"""All that a person can choose for a restore: folders, pools, datastores, networks, hosts, LUNs and VMs of a server."""

from __future__ import annotations

from vmkeep.lateclass import dataclass
from vmkeep.model.site import VCenter
from vmkeep.vsphere import choices
from vmkeep.vsphere.choices import Folder, Host, Machine, Net, Pool, Store
from vmkeep.vsphere.lunlist import ListedLun, list_all_luns
from vmkeep.vsphere.session import open_session

__all__ = [
    "Folder", "Host", "ListedLun", "Machine", "Net", "Places", "Pool", "Store",
    "list_datastores", "list_folders", "list_hosts", "list_luns", "list_machines", "list_networks",
    "list_places", "list_pools",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """All places that a new VM can go to."""

    folders: tuple[Folder, ...]
    pools: tuple[Pool, ...]
    datastores: tuple[Store, ...]
    networks: tuple[Net, ...]
    hosts: tuple[Host, ...]


def list_places(vcenter: VCenter) -> Places:
    """Return all places of a server but its LUNs, with one log-in."""
    with open_session(vcenter) as session:
        return Places(
            folders=choices.list_folders(session),
            pools=choices.list_pools(session),
            datastores=choices.list_datastores(session),
            networks=choices.list_networks(session),
            hosts=choices.list_hosts(session),
        )


def list_folders(vcenter: VCenter) -> tuple[Folder, ...]:
    """Return every VM folder."""
    with open_session(vcenter) as session:
        return choices.list_folders(session)


def list_pools(vcenter: VCenter) -> tuple[Pool, ...]:
    """Return every resource pool in which a new VM can be made."""
    with open_session(vcenter) as session:
        return choices.list_pools(session)


def list_datastores(vcenter: VCenter) -> tuple[Store, ...]:
    """Return every datastore."""
    with open_session(vcenter) as session:
        return choices.list_datastores(session)


def list_networks(vcenter: VCenter) -> tuple[Net, ...]:
    """Return every network to which a card can be connected."""
    with open_session(vcenter) as session:
        return choices.list_networks(session)


def list_hosts(vcenter: VCenter) -> tuple[Host, ...]:
    """Return every ESXi host."""
    with open_session(vcenter) as session:
        return choices.list_hosts(session)


def list_machines(vcenter: VCenter) -> tuple[Machine, ...]:
    """Return every VM that is no template."""
    with open_session(vcenter) as session:
        return choices.list_machines(session)


def list_luns(vcenter: VCenter) -> tuple[ListedLun, ...]:
    """Return every LUN to which an RDM can be mapped, and those in use."""
    with open_session(vcenter) as session:
        return list_all_luns(session)
