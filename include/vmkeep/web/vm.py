"""The page of one VM: its points as a timeline, its disks, its change rate, and its moves. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from vmkeep.flows.fleet import FleetVm, ListedDisk, ListedPoint, VmPoints
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import SkipReason
from vmkeep.model.fullreason import FullReason
from vmkeep.model.wording import age, counted
from vmkeep.web.charts import BarChart, bar_chart
from vmkeep.web.differences import Difference, differences
from vmkeep.web.states import VmState
from vmkeep.web.vm_states import detail_of, state_of
from vmkeep.web.words import Moment, moment, plain, shown_size

POINTS_A_PAGE: Final = 60
"""Points of a page. One more is asked for, because the oldest of a page is compared with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A fact about a point in a word or two, with its class in the style sheet."""

    label: str
    tone: str
    detail: str = ""
    ago: str = ""
    """The distance of its time from now, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskItem:
    """A disk of a point."""

    label: str
    address: str
    capacity: int
    backing: str
    copied: bool
    kind: str
    why: str
    """The reason why it was skipped or read in full, or the point that it continues."""
    bytes_read: int
    bytes_stored: int

    @property
    def size(self) -> str:
        """The size in words."""
        return shown_size(self.capacity)

    @property
    def moved(self) -> str:
        """The bytes that were read, and those that were stored, in words."""
        return f"{shown_size(self.bytes_read)} / {shown_size(self.bytes_stored)}" if self.copied else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointItem:
    """A point of the timeline."""

    ref: str
    id: str
    taken: Moment
    kind: str
    why: str
    consistency: str
    capacity: int
    bytes_read: int
    bytes_stored: int
    seconds: float | None
    policy: str
    run: str
    repository: str
    warnings: int
    marks: tuple[Badge, ...]
    proofs: tuple[Badge, ...]
    disks: tuple[DiskItem, ...]
    changes: tuple[Difference, ...]
    """The differences from the point before it."""
    has_screen: bool
    """Whether a picture of its screen is kept with a proof of it."""

    @property
    def sizes(self) -> str:
        """The bytes that were read, and those that were stored, in words."""
        return f"{shown_size(self.bytes_read)} / {shown_size(self.bytes_stored)}"

    @property
    def skipped(self) -> tuple[DiskItem, ...]:
        """The disks that the point does not hold."""
        return tuple(disk for disk in self.disks if not disk.copied)

    @property
    def took(self) -> str:
        """The time of the longest copy in words."""
        return "" if self.seconds is None else f"{self.seconds:.0f} s" if self.seconds < 120 else age(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences between two points that a person chose."""

    before: PointItem
    after: PointItem
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPage:
    """Everything on the page of a VM."""

    name: str
    vm_key: str
    state: VmState | None
    """``None``: nothing is known by which it could be judged."""
    state_detail: str
    facts: tuple[tuple[str, str], ...]
    """Names of facts, and the facts, of the newest point on the page."""
    points: tuple[PointItem, ...]
    total: int
    first: int
    newer: int | None
    """Number of points to leave out for the page of newer points; ``None``: there is none."""
    older: int | None
    chart: BarChart | None
    moves: tuple[tuple[Moment, Difference], ...]
    comparison: Comparison | None
    screen: PointItem | None
    """The newest point with a picture of its screen."""
    not_exported: PointItem | None
    """The newest point, if its policy leaves it out of the exports because it is not good."""
    problems: tuple[str, ...]
    at: Moment

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        shown = f"{counted(self.total, 'restore point')}"
        if self.total <= len(self.points):
            return f"{shown}."
        return f"{shown}, of which {self.first + 1:,} to {self.first + len(self.points):,} are shown, the newest first."


def vm_page(found: VmPoints, *, now: datetime, compared: tuple[str, str] | None = None) -> VmPage:
    """Return the page.

    :param found: the points of the page, and the one before them if there is one.
    :param compared: ids of two points on the page.
    """
    shown = found.points[:POINTS_A_PAGE]
    earlier = [*found.points[1:], None][: len(shown)]
    items = tuple(_item(point, before, now) for point, before in zip(shown, earlier, strict=True))
    newest = shown[0] if shown else found.points[0]
    state = state_of(found.vm, now) if found.vm is not None else None
    end = found.first + len(shown)
    this = moment(now, now)
    assert this is not None
    return VmPage(
        name=plain(newest.vm_name),
        vm_key=found.vm_key,
        state=state,
        state_detail=detail_of(found.vm, state, now) if found.vm is not None and state is not None else "",
        facts=tuple(_facts(newest, found.vm)),
        points=items,
        total=found.total,
        first=found.first,
        newer=max(0, found.first - POINTS_A_PAGE) if found.first else None,
        older=end if end < found.total else None,
        chart=_chart(shown),
        moves=tuple((item.taken, each) for item in items for each in item.changes if each.is_move),
        comparison=_compared(shown, items, compared),
        screen=next((item for item in items if item.has_screen), None),
        not_exported=_not_exported(found.vm, items),
        problems=found.problems,
        at=this,
    )


def _not_exported(vm: FleetVm | None, items: Sequence[PointItem]) -> PointItem | None:
    if vm is None or vm.fault is None or not vm.is_exported:
        return None
    return next((item for item in items if item.ref == vm.fault.ref), None)


def _facts(point: ListedPoint, vm: FleetVm | None) -> Iterator[tuple[str, str]]:
    facts = {
        "Policy": (vm.policy if vm is not None else point.policy) or "none",
        "Path": point.inventory_path,
        "vCenter": point.server or point.vcenter,
        "Managed object": point.moref,
        "Guest": point.dns_name,
        "Addresses": ", ".join(point.addresses),
        "Key": point.vm_key,
    }
    yield from ((name, plain(value)) for name, value in facts.items() if value)


def _item(point: ListedPoint, before: ListedPoint | None, now: datetime) -> PointItem:
    taken = moment(point.taken_at, now)
    assert taken is not None
    disks = tuple(_disk(disk) for disk in point.disks)
    return PointItem(
        ref=point.ref,
        id=point.id,
        taken=taken,
        kind=point.kind,
        why=_why(point),
        consistency=point.consistency,
        capacity=point.capacity,
        bytes_read=point.bytes_read,
        bytes_stored=point.bytes_stored,
        seconds=point.seconds,
        policy=plain(point.policy),
        run=point.run,
        repository=point.repository,
        warnings=point.warnings,
        marks=tuple(_marks(point, now)),
        proofs=tuple(_proofs(point, now)),
        disks=disks,
        changes=differences(before, point) if before is not None else (),
        has_screen=any(proof.has_picture for proof in point.proofs),
    )


def _why(point: ListedPoint) -> str:
    """Return the reasons why disks were read in full, each once."""
    reasons = dict.fromkeys(disk.full_reason for disk in point.disks if disk.full_reason)
    words = [FullReason(reason).why for reason in reasons]
    if words:
        return plain("; ".join(words))
    if point.kind == "full":
        told = dict.fromkeys(disk.reason for disk in point.disks if disk.reason)
        return plain("; ".join(told)) if told else "the reason is not recorded"
    return "changes since the point before"


def _marks(point: ListedPoint, now: datetime) -> Iterator[Badge]:
    for mark in point.marks:
        if mark.kind == "pinned":
            until = datetime.fromtimestamp(mark.until, UTC) if mark.until is not None else None
            if until is not None and until <= now:
                continue
            held = f"until {until:%Y-%m-%d}" if until else "until somebody takes the pin off"
            yield Badge(label="pinned", tone="calm", detail=plain(f"{held}: {mark.reason}"))
        else:
            tone = "bad" if mark.kind == "damaged" else "warn"
            yield Badge(label=mark.kind, tone=tone, detail=plain(mark.reason))


def _proofs(point: ListedPoint, now: datetime) -> Iterator[Badge]:
    tones = {"passed": "good", "failed": "bad"}
    for proof in sorted(point.proofs, key=lambda each: each.at, reverse=True):
        at = moment(datetime.fromtimestamp(proof.at, UTC), now)
        label = f"{proof.kind} {proof.result}"
        yield Badge(
            label=label, tone=tones.get(proof.result, "warn"), detail=at.shown if at else "", ago=at.ago if at else ""
        )


def _disk(disk: ListedDisk) -> DiskItem:
    if disk.skipped:
        known = disk.skipped in set(SkipReason)
        why = SkipReason(disk.skipped).why if known else disk.skipped
    else:
        why = FullReason(disk.full_reason).why if disk.full_reason else disk.reason or ""
    return DiskItem(
        label=plain(disk.label),
        address=plain(disk.address),
        capacity=disk.capacity,
        backing=plain(disk.backing),
        copied=disk.skipped is None,
        kind=disk.kind or "skipped",
        why=plain(why),
        bytes_read=disk.bytes_read,
        bytes_stored=disk.bytes_stored,
    )


def _chart(points: Sequence[ListedPoint]) -> BarChart | None:
    """Return the share of the disks that each point read, the oldest first."""
    values = []
    for point in reversed(points):
        if not point.capacity:
            continue
        share = point.bytes_read / point.capacity
        words = f"{point.taken_at:%Y-%m-%d %H:%M} UTC: {share:.1%} of {shown_size(point.capacity)} read, {point.kind}"
        values.append((share, "full" if point.kind == "full" else "incremental", words))
    if not values:
        return None
    rates = sorted(share for share, kind, _ in values if kind == "incremental")
    typical = f", an incremental typically {rates[len(rates) // 2]:.1%}" if rates else ""
    return bar_chart(values, f"Share of the disks that each of {counted(len(values), 'point')} read{typical}.")


def _compared(
    points: Sequence[ListedPoint], items: Sequence[PointItem], ids: tuple[str, str] | None
) -> Comparison | None:
    places = {point.id: place for place, point in enumerate(points)}
    if ids is None or not {*ids} <= places.keys() or ids[0] == ids[1]:
        return None
    older, newer = sorted((places[each] for each in ids), reverse=True)
    return Comparison(before=items[older], after=items[newer], differences=differences(points[older], points[newer]))
