"""A recovery plan as values: which VMs are restored in which order, where to, and how it is known that they work."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.policy import Window
from vmkeep.selection import Selector


class PointRule(StrEnum):
    """The rule by which a VM's restore point is chosen. A point that is marked damaged or suspect is never chosen."""

    LATEST = "latest"
    """The newest point; if the rule has a time, the newest one that is not younger."""
    PINNED = "pinned"
    """The newest point that somebody has pinned."""


class PowerWish(StrEnum):
    """Says whether a restored VM is switched on."""

    SAVED = "saved"
    """If it ran when it was backed up."""
    ON = "on"
    """Always; only a template stays off, because vSphere never switches one on."""
    OFF = "off"


class OnFailure(StrEnum):
    """The consequence of a VM of a group that cannot be restored or is not healthy in time."""

    CONTINUE = "continue"
    """The other VMs and the later groups go on."""
    STOP_AFTER_GROUP = "stop_after_group"
    """The other VMs of the group go on, and no later group begins."""
    STOP = "stop"
    """No other VM begins. Restores that run are finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlace:
    """The place of restored VMs. A part that is ``None`` follows the saved VM."""

    folder: str | None = None
    resource_pool: str | None = None
    host: str | None = None
    datastore: str | None = None
    """The datastore of each disk whose old datastore is not listed below."""
    datastores: tuple[str, ...] = ()
    """Entries ``OLD=NEW``; ``*`` for OLD stands for every other datastore."""
    networks: tuple[str, ...] = ()
    """Entries ``OLD=NEW``: OLD is the name of a saved network, or ``*`` for every other one; NEW may be ``none``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestProbe:
    """A command in the guest that succeeds if the VM is healthy."""

    command: str
    login: str
    """Name of the guest's user: under Airflow, the id of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The probes by which a running VM is found healthy. All of them have to succeed within one time limit."""

    tools: bool = True
    """VMware Tools run in the guest, and vSphere hears their heartbeat."""
    tcp: tuple[int, ...] = ()
    """Ports that take connections."""
    http: tuple[str, ...] = ()
    """URLs that answer with a status below 400. ``{address}`` stands for the guest's address."""
    guest: GuestProbe | None = None
    within: float = 600.0
    """Seconds from the VM's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryGroup:
    """VMs that are restored at the same time, after those of the group before."""

    name: str
    selection: Selector
    exclusions: tuple[Selector, ...] = ()
    policies: tuple[str, ...] = ()
    """Only VMs whose chosen point was made by one of these policies; empty: all."""
    vcenter: str | None = None
    """Address or UUID of the vCenter where the points were taken; ``None``: any."""
    point: PointRule = PointRule.LATEST
    not_after: datetime | None = None
    target: TargetPlace = field(default_factory=TargetPlace)
    """The group's own place, with the plan's where the group names none."""
    rename: str = "{name}"
    """Name of a restored VM; ``{name}`` stands for the saved one."""
    power: PowerWish = PowerWish.SAVED
    at_once: int = 4
    boot_delay: float = 0.0
    """Seconds between the end of this group and the beginning of the next one."""
    probes: Probes = field(default_factory=Probes)
    approval: bool = False
    """A person has to approve before the group begins."""
    on_failure: OnFailure = OnFailure.CONTINUE


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRules:
    """The differences of a drill from a disaster."""

    network: str
    """The isolated network, to which every network card goes; ``none``: all cards start disconnected."""
    rename: str = "drill-{name}"
    folder: str | None = None
    """The VM folder of the drill's VMs; ``None``: that of the group."""
    resource_pool: str | None = None
    schedule: Window | None = None
    """The times at which Airflow begins a drill, which are the openings of this window; ``None``: at none."""
    proved_within: timedelta | None = None
    """A VM that was not proved restorable for longer is told of; ``None``: none is."""
    vsphere: str = "vsphere_default"
    """Airflow connection to the vCenter in which drills by schedule take place."""
    repository: str = "vmkeep_default"
    """Airflow connection to the repository for drills by schedule and the watch over proofs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """Everything that is restored after a disaster, in the order in which it is restored."""

    name: str
    description: str = ""
    groups: tuple[RecoveryGroup, ...]
    drill: DrillRules | None = None
    """``None``: the plan cannot be rehearsed."""
