"""Reads the names behind the ids in a VM's configuration, for a restore after the VM is gone."""

from __future__ import annotations

from vmkeep.model.references import NamedNetwork, References
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.cards import Origin, saved_cards
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.networks import Network, opaque_networks, port_groups
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session


def read_references(session: Session, moref: str) -> tuple[References, tuple[str, ...]]:
    """Return the names of the port groups and NSX networks to which a VM's configuration refers by ids.

    :returns: the names, and the labels of network cards whose network's name the user may not read.
    """
    with speaking(f"read the names of the networks of VM {moref}"):
        values = read(session, session.vm(moref), "network", "config.hardware.device")
        networks = values["network"] or ()
        groups = [network for network in networks if isinstance(network, vim.dvs.DistributedVirtualPortgroup)]
        opaque = [network for network in networks if isinstance(network, vim.OpaqueNetwork)]
        found = [*port_groups(session, groups), *opaque_networks(session, opaque)]
    references = References(networks=tuple(map(_named, found)))
    cards = saved_cards(values["config.hardware.device"] or (), Origin(references=references))
    return references, tuple(card.label for card in cards if card.unnamed)


def read_attributes(session: Session, moref: str) -> tuple[tuple[str, str], ...]:
    """Return name and value of each custom attribute of a VM that has a value."""
    with speaking(f"read the custom attributes of VM {moref}"):
        values = read(session, session.vm(moref), "customValue", "availableField")
    names = {field.key: str(field.name) for field in values["availableField"] or ()}
    set_ones = (
        (names.get(item.key, f"{item.key}"), str(item.value)) for item in values["customValue"] or () if item.value
    )
    return tuple(sorted(set_ones))


def _named(network: Network) -> NamedNetwork:
    return NamedNetwork(
        id=network.id, name=network.name, switch_uuid=network.switch_uuid, switch_name=network.switch_name
    )
