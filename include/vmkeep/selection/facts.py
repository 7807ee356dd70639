"""The facts of one VM that a selector can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import NamedTuple

from vmkeep.lateclass import dataclass
from vmkeep.model.point import Power


class Above(NamedTuple):
    """An object above a VM in the inventory."""

    name: str
    counts: bool = True
    """It is of the kind that is asked for, and not only a step on the path to such a one."""
    hidden: bool = False
    """vSphere's clients do not show it: a datacenter's folder ``vm`` or ``host``, or a cluster's root pool."""


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
    folders: tuple[Above, ...] = ()
    """The objects above it in the inventory of VMs and templates, from the top; folders count."""
    pools: tuple[Above, ...] = ()
    """The objects above it in the inventory of hosts, from the top; resource pools and vApps count."""
    vapps: tuple[Above, ...] = ()
    """The folders above its outermost vApp, and the vApps, from the top; vApps count."""
    cluster: str | None = None
    host: str | None = None
    datastores: tuple[str, ...] = ()
