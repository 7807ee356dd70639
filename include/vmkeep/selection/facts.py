"""The facts of one VM that a selector can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmkeep.model.point import Power


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFacts:
    """One VM. Every name is as vSphere stores it, with ``%2f`` for a slash."""

    moref: str
    name: str
    uuids: tuple[str, ...] = ()
    """Instance UUID and BIOS UUID."""
    power: Power | None = None
    """``None``: vSphere does not tell."""
    addresses: frozenset[str] = frozenset()
    """IP addresses, now or last seen, as :mod:`ipaddress` writes them."""
    dns_names: frozenset[str] = frozenset()
    """Names that the guest gives itself, in small letters, now or last seen."""
    tags: frozenset[tuple[str, str]] = frozenset()
    """Category and name."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Custom attributes."""
    folder: tuple[str, ...] = ()
    """Names of the objects above it in the inventory of VMs and templates: datacenter and folders, from the top."""
    pool: tuple[str, ...] = ()
    """Names of the resource pools and vApps that it runs in, from the cluster's own pool down."""
    vapp: tuple[str, ...] = ()
    """Names of its vApps, from the outermost."""
    cluster: str | None = None
    host: str | None = None
    datastores: tuple[str, ...] = ()
