"""The page of the repositories: sizes, growth, checks, locks, and the points that retention lets go next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from vmkeep.flows.capacity import NotedCheck, NotedDay, NotedLeaving, RepositoryNotes
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, agreeing, counted
from vmkeep.web.charts import BarChart, bar_chart
from vmkeep.web.words import Moment, moment, plain, shown_size

_DAY: Final = timedelta(days=1)
_GROWTH_OVER: Final = timedelta(days=30)
"""Time over which the growth is measured."""
_GROWTH_LEAST: Final = timedelta(days=7)
"""Time without which a growth tells nothing, because a week has days without large backups."""
_NEAR: Final = timedelta(days=30)
"""Time before a repository is full from which people are warned."""
_STALE: Final = timedelta(days=2)
"""Age at which the last look is too old to show how things are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityFact:
    """A fact about a repository in words."""

    name: str
    text: str
    tone: str = "calm"
    """``good``, ``warn`` or ``bad``; ``calm``: it is no judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavingDay:
    """The points that retention lets go at a day, in words."""

    day: str
    points: int
    vms: int
    size: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """A check, in words."""

    at: Moment | None
    data: str
    result: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRow:
    """A repository on the page."""

    repository: str
    location: str
    looked: Moment | None
    """The last look; ``None``: no look has noted sizes."""
    facts: tuple[CapacityFact, ...]
    sizes: BarChart | None
    """The bytes of each day; ``None``: there is one day or none."""
    leaving: tuple[LeavingDay, ...]
    """Days at which a point goes."""
    leaving_chart: BarChart | None
    leaving_words: str
    checks: tuple[CheckLine, ...]
    """The newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoriesPage:
    """Everything on the page."""

    rows: tuple[RepositoryRow, ...]
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        if self.problems and not self.rows:
            return "Nothing is known of any repository, because no catalog can be read."
        wrong = sum(any(fact.tone in ("warn", "bad") for fact in row.facts) for row in self.rows)
        number = counted(len(self.rows), "repository", "repositories")
        return f"{number}; {wrong:,} {agreeing(wrong, 'has', 'have')} something to look at." if wrong else f"{number}."


def repositories_page(notes: Sequence[RepositoryNotes], *, problems: Sequence[str], now: datetime) -> RepositoriesPage:
    """Return the page."""
    return RepositoriesPage(rows=tuple(_row(each, now) for each in notes), problems=tuple(map(plain, problems)))


def _row(notes: RepositoryNotes, now: datetime) -> RepositoryRow:
    last = notes.days[-1] if notes.days else None
    going = [each for each in notes.leaving or () if each.day > now - _DAY]
    return RepositoryRow(
        repository=notes.repository,
        location=plain(notes.location),
        looked=moment(last.at, now) if last else None,
        facts=(*(_facts(last, notes.days, now) if last else ()), _coverage(notes.checks, now)),
        sizes=_sizes(notes.days),
        leaving=tuple(_leaving(each) for each in going if each.points),
        leaving_chart=_leaving_chart(going),
        leaving_words=_leaving_words(notes.leaving, going),
        checks=tuple(_check(each, now) for each in reversed(notes.checks[-10:])),
    )


def _facts(last: NotedDay, days: Sequence[NotedDay], now: datetime) -> tuple[CapacityFact, ...]:
    stale = now - last.at > _STALE
    told = (f"{shown_size(last.protected)} of disks in {counted(last.points, 'point')} "
            f"take {shown_size(last.bytes_stored)}{_ratio(last.protected, last.bytes_stored)}")  # fmt: skip
    reduced = f"{shown_size(last.bytes_read)} were read, and {shown_size(last.bytes_added)} of them stored"
    return (
        CapacityFact(
            name="last look",
            text=f"{age((now - last.at).total_seconds())} ago{': older than it should be' if stale else ''}",
            tone="warn" if stale else "calm",
        ),
        CapacityFact(name="stored", text=told),
        CapacityFact(
            name="by backups",
            text=f"{reduced}{_ratio(last.bytes_read, last.bytes_added)}, by deduplication and compression together",
        ),
        CapacityFact(
            name="free",
            text="not known: this store does not tell it" if last.free is None else shown_size(last.free),
        ),
        _forecast(last, days, now),
        _immutability(last, now),
    )


def _ratio(whole: int, part: int) -> str:
    return f" ({whole / part:.1f} : 1)" if whole and part else ""


def _forecast(last: NotedDay, days: Sequence[NotedDay], now: datetime) -> CapacityFact:
    """Return the day at which the place is full, by the growth of the last weeks."""
    first = next(each for each in days if last.at - each.at <= _GROWTH_OVER)
    passed = last.at - first.at
    if passed < _GROWTH_LEAST:
        return CapacityFact(
            name="full", text=f"not known yet: the growth is told from {age(_GROWTH_LEAST.total_seconds())} of looks"
        )
    growth = (last.bytes_stored - first.bytes_stored) / (passed / _DAY)
    rate = f"it grew by {shown_size(int(growth))} a day in {age(passed.total_seconds())}"
    if growth <= 0:
        return CapacityFact(name="full", text=f"not in sight: it did not grow in {age(passed.total_seconds())}")
    if last.free is None:
        return CapacityFact(name="full", text=f"not known, because the store does not tell its free space; {rate}")
    left = min(last.free / growth, 36500.0) * _DAY
    at = last.at + left
    if left > 10 * 365 * _DAY:
        return CapacityFact(name="full", text=f"not within ten years; {rate}")
    near = at - now < _NEAR
    when = f"about {at:%Y-%m-%d}"
    return CapacityFact(
        name="full", text=f"{when}, if nothing else fills the place; {rate}", tone="bad" if near else "calm"
    )


def _immutability(last: NotedDay, now: datetime) -> CapacityFact:
    if last.locked_for is None:
        return CapacityFact(name="immutable", text="no: the repository asks for no locks")
    asked = f"{counted(last.locked_for.days, 'day')} from when the store took a blob"
    if last.locked is None:
        return CapacityFact(name="immutable", text=f"{asked} are asked for, and the store keeps no locks", tone="bad")
    held = f"{last.locked:,} of {counted(last.points, 'point')} locked"
    if last.locked_until is None or last.locked_until <= now:
        return CapacityFact(name="immutable", text=f"{asked}; no lock holds now", tone="bad" if last.points else "calm")
    return CapacityFact(
        name="immutable", text=f"{asked}; {held}, the last at least until {last.locked_until:%Y-%m-%d}", tone="good"
    )


def _coverage(checks: Sequence[NotedCheck], now: datetime) -> CapacityFact:
    """Return how much of the data was read again in how many days. Checks of other parts count for nothing."""
    parts = next((each.parts for each in reversed(checks) if each.parts > 1), 1)
    read: dict[int, datetime] = {}
    for check in checks:
        if check.parts == 1:
            read = dict.fromkeys(range(1, parts + 1), check.at)
        elif check.parts == parts:
            read[check.part] = check.at
    name = "re-read"
    if not read:
        return CapacityFact(name=name, text="no check has read data again", tone="warn")
    within = max(parts, 30)
    fresh = sum(now - at <= within * _DAY for at in read.values())
    told = f"{fresh / parts:.0%} of the data in the last {within} days"
    unread = parts - len(read)
    oldest = f"; {counted(unread, 'part')} of {parts} never" if unread else f"; all since {min(read.values()):%Y-%m-%d}"
    return CapacityFact(name=name, text=told + oldest, tone="good" if fresh == parts else "warn")


def _sizes(days: Sequence[NotedDay]) -> BarChart | None:
    if len(days) < 2:
        return None
    shown = days[-180:]
    words = (
        f"Stored from {shown[0].at:%Y-%m-%d} ({shown_size(shown[0].bytes_stored)}) "
        f"to {shown[-1].at:%Y-%m-%d} ({shown_size(shown[-1].bytes_stored)}), a bar for each day with a look."
    )
    bars = [
        (float(each.bytes_stored), "incremental", f"{each.at:%Y-%m-%d}: {shown_size(each.bytes_stored)}")
        for each in shown
    ]
    return bar_chart(bars, words)


def _leaving(each: NotedLeaving) -> LeavingDay:
    return LeavingDay(
        day=f"{each.day:%Y-%m-%d}", points=each.points, vms=each.vms, size=f"at most {shown_size(each.bytes_added)}"
    )


def _leaving_chart(going: Sequence[NotedLeaving]) -> BarChart | None:
    if not any(each.points for each in going):
        return None
    bars = [
        (
            float(each.points),
            "full",
            f"{each.day:%Y-%m-%d}: {counted(each.points, 'point')} of {counted(each.vms, 'VM')}",
        )
        for each in going
    ]
    return bar_chart(bars, "Points that retention lets go, a bar for each day.")


def _leaving_words(noted: Sequence[NotedLeaving] | None, going: Sequence[NotedLeaving]) -> str:
    if noted is None:
        return "Not known: no look knew the retention yet."
    if not going:
        return "Not known: the last look is too old."
    points = sum(each.points for each in going)
    if not points:
        return f"No point goes until {going[-1].day:%Y-%m-%d}, if every VM keeps its rhythm of backups."
    return (
        f"{counted(points, 'point')} {agreeing(points, 'goes', 'go')} until {going[-1].day:%Y-%m-%d}, "
        "if every VM keeps its rhythm of backups, and if prunes run. A point with a lock stays until the lock ends."
    )


def _check(check: NotedCheck, now: datetime) -> CheckLine:
    if not check.parts:
        data = "structure, no data"
    else:
        data = "all data" if check.parts == 1 else f"part {check.part} of {check.parts}"
    return CheckLine(
        at=moment(check.at, now),
        data=data,
        result=counted(check.findings, "finding") if check.findings else "nothing damaged",
        tone="bad" if check.findings else "good",
    )
