"""The page of one day's windows: what ran when, against the window of its policy, and what did not fit. Pure.

A day is one of UTC, because the windows of policies may have time zones of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, counted
from vmkeep.web.day_bars import DAY, DayBar, band, day_bars, minute_of, time_bar
from vmkeep.web.states import WindowState
from vmkeep.web.window_groups import (
    BackupGroup,
    ListedBackups,
    WindowBackup,
    WindowPlanned,
    WindowSeen,
    groups_of,
    query_of,
    words_of,
)  # fmt: skip
from vmkeep.web.words import Moment, moment, plain

_NONE_CHOSEN: Final = ListedBackups()
_PLAN_WITHIN: Final = timedelta(minutes=30)
"""Time that a run has to make its plan."""
_ENDS_WITHIN: Final = timedelta(days=1)
"""Time after its end that the backups of a window have to end. Those that need longer hang, or a policy's window does
not fit its VMs."""
BACKUPS: Final = 50
"""Backups of a window that the page lists."""
_BAD_ENDINGS: Final = ("failed", "stopped", "not started", "running", "waiting", "done")
"""Endings of backups, in the order in which they are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRow:
    """A backup as the page shows it."""

    name: str
    run_id: str
    ending: str
    tone: str
    why: str
    begun: Moment | None
    lasted: str
    bars: tuple[DayBar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The part of a window's backups that is listed."""

    anchor: str
    """Its place in the page."""
    heading: str
    """The number of its backups in words, and which of them are listed if not all are."""
    group: BackupGroup
    total: int
    """Backups of the group."""
    first: int
    is_chosen: bool
    """Somebody has asked for this list."""
    before: str
    after: str
    """The queries of the page with the backups before these and after them; empty: there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """A window as the page shows it."""

    policy: str
    dag_id: str
    run_id: str
    """Empty: there is no run."""
    opens: Moment
    closes: Moment | None
    state: WindowState
    label: str
    tone: str
    vms: int
    done: int
    failed: int
    not_fit: int
    """VMs that were not started, were stopped, or still ran when the window gave up."""
    in_work: int
    left_out: int
    late: int
    """Backups that ended after the window had closed."""
    peak: int
    """The most backups that ran at the same time on this day."""
    last_ended: Moment | None
    over: str
    """The time from the window's end to that of its last backup; empty: it ended in time."""
    bars: tuple[DayBar, ...]
    words: str
    """The drawing in one sentence."""
    links: dict[str, str]
    """The query of the page that lists the backups of each group that has some, by the group."""
    group_words: dict[str, str]
    """The words that follow the number of each of these groups, by the group."""
    listing: Listing | None
    """The list of backups; ``None``: there is no run."""
    backups: tuple[BackupRow, ...]
    more: int
    """Backups of the group that are not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsPage:
    """The page of one day's windows."""

    day: str
    before: str
    after: str
    """The next day; empty: it would be later than tomorrow."""
    is_today: bool
    now_at: int | None
    """The minute of the day that it is now; ``None``: it is another day."""
    sentence: str
    query: str
    """The query that has led to this page."""
    rows: tuple[WindowRow, ...]
    problems: tuple[str, ...]


def windows_page(
    seen: Sequence[WindowSeen],
    planned: Sequence[WindowPlanned],
    day: date,
    *,
    now: datetime,
    problems: Sequence[str] = (),
    listed: ListedBackups = _NONE_CHOSEN,
) -> WindowsPage:
    """Return the page of one day.

    :param seen: the windows that touch the day.
    :param planned: the windows without a run that touch the day.
    :param listed: the backups to list of one window. Of the others, the first of all are listed.
    """
    rows = [_seen_row(each, day, now, listed, f"w{number}") for number, each in enumerate(seen)]
    rows += [_planned_row(each, day, now) for each in planned]
    rows.sort(key=lambda row: (row.opens.iso, row.policy))
    today = now.astimezone(UTC).date()
    after = day + DAY
    return WindowsPage(
        day=day.isoformat(),
        before=(day - DAY).isoformat(),
        after=after.isoformat() if after <= today + DAY else "",
        is_today=day == today,
        now_at=minute_of(now, day) if day == today else None,
        sentence=_sentence(rows),
        query=query_of(listed.dag_id, listed.run_id, day, listed.group, listed.first),
        rows=tuple(rows),
        problems=tuple(problems),
    )


def _sentence(rows: Sequence[WindowRow]) -> str:
    if not rows:
        return "No policy has a window on this day."
    bad = sum(row.tone in ("bad", "warn") for row in rows)
    vms, done = sum(row.vms for row in rows), sum(row.done for row in rows)
    windows = counted(len(rows), "window")
    good = f"{done:,} of {counted(vms, 'backup')} done" if vms else "no backup yet"
    return f"{windows}; {good}; {_looks(bad)}."


def _looks(bad: int) -> str:
    return "none needs a look" if not bad else f"{bad} needs a look" if bad == 1 else f"{bad} need a look"


def _seen_row(seen: WindowSeen, day: date, now: datetime, listed: ListedBackups, anchor: str) -> WindowRow:
    ended = [each.ended_at for each in seen.backups if each.ended_at is not None]
    last = max(ended) if ended else None
    state = _state(seen, last, now)
    times = [(each.begun_at, each.ended_at or now) for each in seen.backups]
    bars, peak = day_bars(seen.opens_at, seen.closes_at, times, day)
    is_late = last is not None and seen.closes_at is not None and last > seen.closes_at
    over = age((last - seen.closes_at).total_seconds()) if is_late and last and seen.closes_at else ""
    opens = moment(seen.opens_at, now)
    assert opens is not None
    groups = groups_of(seen)
    listing = _listing(seen, groups, day, listed, anchor)
    part = _ordered(groups[listing.group], now)[listing.first : listing.first + BACKUPS]
    return WindowRow(
        policy=plain(seen.policy),
        dag_id=seen.dag_id,
        run_id=seen.run_id,
        opens=opens,
        closes=moment(seen.closes_at, now),
        state=state,
        label=state.label,
        tone=state.tone,
        vms=len(seen.backups),
        done=len(groups[BackupGroup.DONE]),
        failed=len(groups[BackupGroup.FAILED]),
        not_fit=len(groups[BackupGroup.NOT_FIT]),
        in_work=len(groups[BackupGroup.IN_WORK]),
        left_out=len(seen.left_out),
        late=len(groups[BackupGroup.LATE]),
        peak=peak,
        last_ended=moment(last, now),
        over=over,
        bars=bars,
        words=_words(seen, peak, over),
        links={
            group.value: query_of(seen.dag_id, seen.run_id, day, group) for group, backups in groups.items() if backups
        },
        group_words={group.value: words_of(group, len(backups)) for group, backups in groups.items() if backups},
        listing=listing,
        backups=tuple(_backup_row(each, day, now) for each in part),
        more=listing.total - len(part),
    )


def _listing(
    seen: WindowSeen,
    groups: Mapping[BackupGroup, Sequence[WindowBackup]],
    day: date,
    listed: ListedBackups,
    anchor: str,
) -> Listing:
    is_chosen = (seen.dag_id, seen.run_id) == (listed.dag_id, listed.run_id)
    shown = listed if is_chosen else _NONE_CHOSEN
    total = len(groups[shown.group])
    first = min(shown.first, max(0, total - 1) // BACKUPS * BACKUPS)  # because a list may have shrunk since
    after = first + BACKUPS
    heading = f"{total:,} {words_of(shown.group, total)}"

    def query(first: int) -> str:
        return query_of(seen.dag_id, seen.run_id, day, shown.group, first)

    return Listing(
        anchor=anchor,
        heading=heading if total <= BACKUPS else f"{heading}, {first + 1:,} to {min(after, total):,} of them",
        group=shown.group,
        total=total,
        first=first,
        is_chosen=is_chosen,
        before=query(max(0, first - BACKUPS)) if first else "",
        after=query(after) if after < total else "",
    )


def _ordered(backups: Sequence[WindowBackup], now: datetime) -> list[WindowBackup]:
    """Return backups in the order of a list: the worst first, then the longest."""
    rank = {ending: number for number, ending in enumerate(_BAD_ENDINGS)}
    return sorted(backups, key=lambda each: (rank.get(each.ending, 0), -_seconds(each, now), each.name))


def _planned_row(planned: WindowPlanned, day: date, now: datetime) -> WindowRow:
    state = _planned_state(planned, now)
    opens = moment(planned.opens_at, now)
    assert opens is not None
    return WindowRow(
        policy=plain(planned.policy), dag_id="", run_id="", opens=opens, closes=moment(planned.closes_at, now),
        state=state, label=state.label, tone=state.tone, vms=0, done=0, failed=0, not_fit=0, in_work=0, left_out=0,
        late=0, links={}, group_words={}, listing=None, peak=0, last_ended=None, over="",
        bars=tuple(band(planned.opens_at, planned.closes_at, day)),
        words=f"from {planned.opens_at:%H:%M} to {planned.closes_at:%H:%M} UTC; {state.meaning}", backups=(), more=0,
    )  # fmt: skip


def _planned_state(planned: WindowPlanned, now: datetime) -> WindowState:
    if planned.is_idle_example:
        return WindowState.EXAMPLE
    if planned.opens_at > now:
        return WindowState.COMING_OFF if planned.is_off else WindowState.COMING
    is_older = planned.known_since is not None and planned.closes_at <= planned.known_since
    return WindowState.BEFORE if is_older else WindowState.NO_RUN


def _state(seen: WindowSeen, last: datetime | None, now: datetime) -> WindowState:
    endings = {each.ending for each in seen.backups}
    if seen.due == "missed":
        return WindowState.MISSED
    if seen.due == "superseded":
        return WindowState.SUPERSEDED
    if seen.closes_at is None:
        begun_at = max(seen.opens_at, seen.begun_at or seen.opens_at)
        waits = WindowState.OPEN if now <= begun_at + _PLAN_WITHIN else WindowState.NOT_BEGUN
        if seen.is_queued and waits is WindowState.OPEN:
            waits = WindowState.WAITING
        return WindowState.NO_PLAN if seen.is_over else waits
    if endings & {"not started", "stopped"} or (seen.is_over and endings & {"running", "waiting"}):
        return WindowState.NOT_FIT
    if "failed" in endings:
        return WindowState.FAILED
    if not seen.is_over:
        # Its copies to a second repository may last longer than it is open.
        if now <= seen.closes_at or not endings & {"running", "waiting"}:
            return WindowState.OPEN
        return WindowState.STUCK if now > seen.closes_at + _ENDS_WITHIN else WindowState.OVERDUE
    if not seen.backups:
        return WindowState.EMPTY
    return WindowState.LATE if last is not None and last > seen.closes_at else WindowState.DONE


def _words(seen: WindowSeen, peak: int, over: str) -> str:
    closes = f" to {seen.closes_at:%H:%M}" if seen.closes_at else ""
    most = f"; at most {counted(peak, 'backup')} at once" if peak else "; no backup ran on this day"
    return f"from {seen.opens_at:%H:%M}{closes} UTC{most}{f'; the last one ended {over} after its end' if over else ''}"


def _backup_row(each: WindowBackup, day: date, now: datetime) -> BackupRow:
    tone = {"done": "good", "running": "calm", "waiting": "calm", "left out": "warn"}.get(each.ending, "bad")
    kind = {"good": "ran", "bad": "bad"}.get(tone, "calm")
    return BackupRow(
        name=plain(each.name),
        run_id=each.run_id if each.begun_at is not None else "",
        ending=each.ending,
        tone=tone,
        why=plain(each.why),
        begun=moment(each.begun_at, now),
        lasted=age(_seconds(each, now)) if each.begun_at is not None else "",
        bars=tuple(time_bar(each.begun_at, each.ended_at or now, day, kind)),
    )


def _seconds(each: WindowBackup, now: datetime) -> float:
    if each.begun_at is None:
        return 0.0
    return max(0.0, ((each.ended_at or now) - each.begun_at).total_seconds())
