"""The outcome of LVM checks of restore points, as values: of one point, of many, and the summary of a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from vmkeep.errors import VmKeepError
from vmkeep.guest.lvm import Finding, Severity
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import agreeing, counted, counted_of

_SHOWN = 20
"""Names that one line lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmRequest:
    """The points to check. Without anything: the newest point of each VM whose guest may be a Linux."""

    points: tuple[str, ...] = ()
    """Points as people name them. They are checked whatever their guest is."""
    refs: tuple[str, ...] = ()
    """Points by their full refs, of those VMs whose guest may be a Linux. One that is gone is told in the summary."""
    keys: tuple[str, ...] | None = None
    """Keys of the VMs to look at; ``None``: all."""
    selector: str = ""
    """The VMs to look at; empty: all."""
    all_points: bool = False
    """Check all points of these VMs, and not only the newest."""
    mark: bool = False
    """Mark points that contradict themselves as suspect, so that the VM's next backup reads everything."""
    record: bool = False
    """Keep the outcome with each point as a proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGroup:
    """A volume group, as the newest copy of its metadata describes it."""

    name: str
    uuid: str
    seqno: int
    """LVM counts the changes of a group's metadata."""
    pvs: int
    """Number of its physical volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmCheck:
    """The outcome of the LVM check of one restore point."""

    point: str
    """Ref."""
    vm: str
    """Name of the VM."""
    key: str
    """Key of the VM."""
    disks: int
    """Number of disks that were looked at."""
    vgs: tuple[CheckedGroup, ...] = ()
    findings: tuple[Finding, ...] = ()
    unopened: tuple[str, ...] = ()
    """A sentence for each place in which LVM may lie that nobody can see, e.g. because it is encrypted."""
    marked: tuple[str, ...] = ()
    """Refs of the points that were marked as suspect."""
    told: tuple[str, ...] = ()
    """Sentences about what the check could not do, e.g. compare with an earlier point that is damaged."""

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that tell that the point contradicts itself."""
        return tuple(found for found in self.findings if found.severity is Severity.FAILURE)

    @property
    def document(self) -> dict[str, Any]:
        """The outcome as scripts read it."""
        return {
            "point": self.point,
            "vm": self.vm,
            "disks": self.disks,
            "vgs": [{"name": vg.name, "uuid": vg.uuid, "seqno": vg.seqno, "pvs": vg.pvs} for vg in self.vgs],
            "findings": [
                {
                    "code": found.code.value,
                    "severity": found.severity.value,
                    "vg": found.vg,
                    "pv": found.pv,
                    "disk": found.disk,
                    "text": found.text,
                }
                for found in self.findings
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmSummary:
    """The numbers of LVM checks of many points. Summaries of parts of a fleet add up to that of the fleet."""

    vms: dict[str, str] = field(default_factory=dict)
    """Names of the VMs of which a point was checked, by key."""
    points: int = 0
    disks: int = 0
    """Disks that were looked at, once for each point."""
    seconds: float = 0.0
    inconsistent: dict[str, str] = field(default_factory=dict)
    """Names of the VMs of which a point contradicts itself, by key."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Guests that are no Linux, and were not looked at: the name of the VM and of its guest, by key."""
    unread: dict[str, str] = field(default_factory=dict)
    """The points that could not be checked, with the reason, by ref."""
    unkept: dict[str, str] = field(default_factory=dict)
    """The points whose outcome could not be kept with them, with the reason, by ref."""
    unopened: dict[str, str] = field(default_factory=dict)
    """A place of each point in which LVM may lie that nobody can see, by ref."""
    marked: tuple[str, ...] = ()
    """Refs of the points that were marked as suspect."""

    @property
    def seconds_per_vm(self) -> float:
        """Seconds for one VM on the average."""
        return self.seconds / len(self.vms) if self.vms else 0.0

    @property
    def percent(self) -> float:
        """Share of the VMs that contradict themselves, in percent."""
        return 100.0 * len(self.inconsistent) / len(self.vms) if self.vms else 0.0

    @property
    def names(self) -> list[str]:
        """Names of the VMs that contradict themselves, sorted."""
        return sorted(self.inconsistent.values())

    @property
    def document(self) -> dict[str, Any]:
        """The numbers as scripts read them."""
        return {
            "vms": len(self.vms),
            "disks": self.disks,
            "seconds_per_vm": round(self.seconds_per_vm, 4),
            "inconsistent": len(self.inconsistent),
            "percent": round(self.percent, 2),
            "names": self.names,
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        scanned = f"{counted(len(self.vms), 'VM')} scanned"
        points = f", {counted(self.points, 'restore point')}" if self.points != len(self.vms) else ""
        took = f", in {self.seconds_per_vm:.2f} seconds for each VM on average" if self.vms else ""
        lines = [f"{scanned}{points}, {counted(self.disks, 'disk')} examined{took}"]
        bad = f"{counted_of(len(self.inconsistent), len(self.vms), 'VM')} inconsistent ({self.percent:.2f} %)"
        lines.append(f"{bad}: {_listed(self.names)}" if self.inconsistent else bad)
        if self.skipped:
            lines.append(
                f"{counted(len(self.skipped), 'VM')} not scanned, because the guest is no Linux: "
                f"{_listed(sorted(self.skipped.values()))}"
            )
        if self.unread:
            lines.append(f"{counted(len(self.unread), 'point')} could not be checked: {_listed(sorted(self.unread))}")
        if self.unkept:
            outcomes = f"{counted(len(self.unkept), 'outcome')} {agreeing(len(self.unkept), 'is', 'are')} not kept"
            lines.append(f"{outcomes} with the points: {_listed(sorted(self.unkept))}")
        if self.unopened:
            lines.append(
                f"{counted(len(self.unopened), 'point')} may have LVM in volumes that nobody can open: "
                f"{_listed(sorted(self.unopened))}"
            )
        if self.marked:
            lines.append(f"{counted(len(self.marked), 'point')} marked suspect: {_listed(sorted(self.marked))}")
        return tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmReport:
    """The outcome of a call: each point, and the summary."""

    checks: tuple[LvmCheck, ...]
    summary: LvmSummary
    unkept: Mapping[str, VmKeepError] = field(default_factory=dict)
    """The errors because of which outcomes are not kept with their points, by ref."""

    @property
    def document(self) -> dict[str, Any]:
        """The outcome as scripts read it."""
        return {
            "points": [check.document for check in self.checks],
            "summary": self.summary.document,
            "skipped": [{"vm": name} for name in sorted(self.summary.skipped.values())],
            "unread": [{"point": ref, "problem": why} for ref, why in sorted(self.summary.unread.items())],
            "unkept": [{"point": ref, "problem": why} for ref, why in sorted(self.summary.unkept.items())],
            "unopened": [
                {"point": check.point, "places": list(check.unopened)} for check in self.checks if check.unopened
            ],
            "marked": sorted(self.summary.marked),
        }


def summed(parts: Iterable[LvmSummary]) -> LvmSummary:
    """Return the summary of a fleet from those of its parts."""
    every = list(parts)
    return LvmSummary(
        vms=_merged(part.vms for part in every),
        points=sum(part.points for part in every),
        disks=sum(part.disks for part in every),
        seconds=sum(part.seconds for part in every),
        inconsistent=_merged(part.inconsistent for part in every),
        skipped=_merged(part.skipped for part in every),
        unread=_merged(part.unread for part in every),
        unkept=_merged(part.unkept for part in every),
        unopened=_merged(part.unopened for part in every),
        marked=tuple(sorted({ref for part in every for ref in part.marked})),
    )


def _merged(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for mapping in mappings for key, value in mapping.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
