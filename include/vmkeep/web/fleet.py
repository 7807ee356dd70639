"""The page of the fleet: every VM with its newest good point, judged against its policy. Pure.

The whole fleet is judged, filtered and sorted in memory, because a state depends on policy files, which SQL does not
know. A row is a few hundred bytes, so a fleet of 50,000 VMs takes as little time as one of 5,000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

from vmkeep.flows.fleet import Fleet, FleetVm
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, counted
from vmkeep.web.charts import sparkline
from vmkeep.web.looks import not_known
from vmkeep.web.states import VmState
from vmkeep.web.vm_states import detail_of, fault_of, state_of
from vmkeep.web.words import Moment, moment, plain, shown_size

ROWS: Final = 100
"""Rows of a page."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_ORDER: Final = {state: place for place, state in enumerate(VmState)}


class FleetSort(StrEnum):
    """The columns that the fleet can be sorted by."""

    NAME = "name"
    STATE = "state"
    POLICY = "policy"
    NEWEST = "newest"
    PROVED = "proved"
    CAPACITY = "capacity"
    STORED = "stored"
    POINTS = "points"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetQuery:
    """The choice of rows that a person made."""

    search: str = ""
    """A part of the VM's name, key or place, whatever its case."""
    state: VmState | None = None
    policy: str | None = None
    """Empty: VMs without a policy; ``None``: any."""
    sort: FleetSort = FleetSort.STATE
    down: bool = False
    """Sort from the largest to the smallest."""
    page: int = 1

    def link(self, **changes: Any) -> str:
        """Return the part of the page's address that makes this choice, with changes."""
        wanted = replace(self, **changes)
        fields = {
            "q": wanted.search,
            "state": wanted.state.value if wanted.state else "",
            "sort": wanted.sort.value if wanted.sort is not FleetSort.STATE or wanted.down else "",
            "order": "down" if wanted.down else "",
            "page": str(wanted.page) if wanted.page > 1 else "",
        }
        chosen = {name: value for name, value in fields.items() if value}
        if wanted.policy is not None:
            chosen["policy"] = wanted.policy
        return f"?{urlencode(chosen)}" if chosen else "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """A VM on the page."""

    name: str
    vm_key: str | None
    policy: str
    state: VmState
    newest: Moment | None
    limit: str | None
    """The age that the policy allows, in words."""
    detail: str
    """The state's reason, in words."""
    place: str
    """Its vCenter and managed object, or its key, where another VM has the same name; else empty."""
    proved: Moment | None
    proof_rule: str
    """The proofs that count, in words; empty: no policy has the VM and says it."""
    capacity: int
    stored: int
    points: int
    bad: int
    fault: str
    """Everything that is known against the newest point, in words; empty: nothing is."""
    repositories: int
    trend: tuple[int, ...] = ()
    """Bytes that the newest points have stored, the oldest first."""

    @property
    def spark(self) -> str:
        """The trend as a line."""
        return sparkline(self.trend)

    @property
    def sizes(self) -> str:
        """The bytes that are protected, and those that they take, in words."""
        return f"{shown_size(self.capacity)} / {shown_size(self.stored)}" if self.points else ""

    @property
    def trend_words(self) -> str:
        """The trend in words, for people who do not see the line."""
        if len(self.trend) < 2:
            return ""
        return f"stored by each of the last {len(self.trend)} points: {', '.join(map(shown_size, self.trend))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """The number of VMs in one state, in the whole fleet."""

    state: VmState
    vms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPlace:
    """A repository, and the time at which it was last looked at."""

    location: str
    at: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPage:
    """Everything on the page of the fleet."""

    rows: tuple[FleetRow, ...]
    counts: tuple[StateCount, ...]
    policies: tuple[str, ...]
    query: FleetQuery
    total: int
    """VMs of the whole fleet, with the imported images."""
    images: int
    """Imported images, which no policy could have."""
    found: int
    """VMs that fit the choice."""
    pages: int
    at: Moment
    looks: tuple[SeenPlace, ...]
    problems: tuple[str, ...]
    """A sentence for everything that the page could not know."""
    capacity: int
    stored: int
    unknown: str
    """The facts that no look has noted yet, in words; empty: all are."""
    has_catalog: bool
    """Whether any connection names a catalog that could be read."""

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        bad = self._in(VmState.NEVER, VmState.LATE, VmState.DAMAGED)
        failed = self._in(VmState.FAILED)
        bare = self._in(VmState.UNPROTECTED, VmState.BLOCKED)
        if not self.total:
            if self.problems and not self.has_catalog:
                return "Nothing is known of any VM, because no catalog can be read."
            return "No VM is known yet."
        images = f" and {counted(self.images, 'imported image')}" if self.images else ""
        words = [f"{counted(self.total - self.images, 'VM')}{images}: "]
        words.append(f"{bad:,} late or without a good point" if bad else "none late")
        words.append(f", {failed:,} with a failed check" if failed else "")
        words.append(f", {bare:,} without protection" if bare else "")
        words.append(f"; {self.unknown}" if self.unknown else "")
        return "".join(words) + "."

    def _in(self, *states: VmState) -> int:
        return sum(each.vms for each in self.counts if each.state in states)


def fleet_page(
    fleet: Fleet, query: FleetQuery, *, now: datetime, trends: Callable[[Sequence[FleetVm]], Mapping[str, list[int]]]
) -> FleetPage:
    """Return the page.

    :param trends: asks for the trends of the VMs on the page.
    """
    judged = [(vm, state_of(vm, now)) for vm in fleet.vms]
    named = Counter(vm.name for vm in fleet.vms)
    counts = Counter(state for _, state in judged)
    chosen = [(vm, state) for vm, state in judged if _fits(vm, state, query)]
    chosen.sort(key=lambda each: each[0].name.casefold())
    chosen.sort(key=_KEYS[query.sort], reverse=query.down)
    pages = max(1, -(-len(chosen) // ROWS))
    query = replace(query, page=min(max(1, query.page), pages))
    shown = chosen[(query.page - 1) * ROWS : query.page * ROWS]
    drawn = trends([vm for vm, _ in shown])
    this = moment(now, now)
    assert this is not None
    return FleetPage(
        rows=tuple(_row(vm, state, now, drawn.get(vm.vm_key or "", []), named[vm.name] > 1) for vm, state in shown),
        counts=tuple(StateCount(state=state, vms=counts[state]) for state in VmState if counts[state]),
        policies=tuple(sorted({vm.policy for vm in fleet.vms if vm.policy})),
        query=query,
        total=len(fleet.vms),
        images=sum(vm.is_image for vm in fleet.vms),
        found=len(chosen),
        pages=pages,
        at=this,
        looks=tuple(
            SeenPlace(location=plain(each.location or each.repository), at=moment(each.at, now))
            for each in fleet.repositories
        ),
        problems=fleet.problems,
        capacity=sum(vm.capacity for vm in fleet.vms),
        stored=sum(vm.bytes_stored for vm in fleet.vms),
        unknown=not_known(fleet),
        has_catalog=fleet.catalogs > 0,
    )


def _fits(vm: FleetVm, state: VmState, query: FleetQuery) -> bool:
    if query.state is not None and state is not query.state:
        return False
    if query.policy == "" and vm.is_in_policy:
        return False
    if query.policy and vm.policy != query.policy:
        return False
    wanted = query.search.strip().casefold()
    return not wanted or any(wanted in each.casefold() for each in (vm.name, vm.vm_key or "", vm.place))


def _proof_rule(vm: FleetVm) -> str:
    if vm.counting:
        return f"of the kinds that policy {plain(vm.policy)} counts: {', '.join(vm.counting)}"
    return ""


_KEYS: Final[dict[FleetSort, Callable[[tuple[FleetVm, VmState]], Any]]] = {
    FleetSort.NAME: lambda each: each[0].name.casefold(),
    FleetSort.STATE: lambda each: _ORDER[each[1]],
    FleetSort.POLICY: lambda each: (not each[0].policy, each[0].policy),
    FleetSort.NEWEST: lambda each: each[0].newest or _LONG_AGO,
    FleetSort.PROVED: lambda each: each[0].proved or _LONG_AGO,
    FleetSort.CAPACITY: lambda each: each[0].capacity,
    FleetSort.STORED: lambda each: each[0].bytes_stored,
    FleetSort.POINTS: lambda each: each[0].points,
}


def _row(vm: FleetVm, state: VmState, now: datetime, trend: Sequence[int], is_twin: bool) -> FleetRow:
    return FleetRow(
        name=plain(vm.name),
        vm_key=vm.vm_key,
        policy=plain(vm.policy),
        state=state,
        newest=moment(vm.newest, now),
        limit=age(vm.max_age.total_seconds()) if vm.max_age is not None else None,
        detail=detail_of(vm, state, now),
        place=plain(vm.place or vm.vm_key or "") if is_twin else "",
        proved=moment(vm.proved, now),
        proof_rule=_proof_rule(vm),
        capacity=vm.capacity,
        stored=vm.bytes_stored,
        points=vm.points,
        bad=vm.bad,
        fault=fault_of(vm, now),
        repositories=vm.repositories,
        trend=tuple(trend),
    )
