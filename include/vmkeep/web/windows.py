"""The page of one day's windows: what ran when, against the window of its policy, and what did not fit. Pure.

A day is one of UTC, because the windows of policies may have time zones of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from vmkeep.model.wording import age, counted
from vmkeep.web.day_bars import DAY, DayBar, band, day_bars, minute_of, time_bar
from vmkeep.web.states import WindowState
from vmkeep.web.words import Moment, moment, plain

_PLAN_WITHIN: Final = timedelta(minutes=30)
"""Time that a run has to make its plan."""
BACKUPS: Final = 50
"""Backups of a window that the page lists."""
_BAD_ENDINGS: Final = ("failed", "stopped", "not started", "running", "waiting", "done")
"""Endings of backups, in the order in which they are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBackup:
    """The backup of one VM in a window."""

    name: str
    run_id: str
    ending: str
    """``done``, ``failed``, ``stopped`` or ``not started``; ``running`` or ``waiting`` while the window is at work."""
    why: str
    begun_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSeen:
    """A window that Airflow has a run of."""

    policy: str
    dag_id: str
    run_id: str
    opens_at: datetime
    closes_at: datetime | None
    """``None``: the run has made no plan."""
    due: str
    is_over: bool
    backups: tuple[WindowBackup, ...]
    left_out: int
    """VMs of the policy that cannot be backed up."""
    begun_at: datetime | None = None
    """When Airflow put the run into its queue, which is long after the opening if the window is caught up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlanned:
    """A window that a policy has, as its file is now, and that Airflow has no run of."""

    policy: str
    opens_at: datetime
    closes_at: datetime
    known_since: datetime | None = None
    """When Airflow knew the DAG for the first time; ``None``: nothing tells it."""
    is_idle_example: bool = False
    """Whether it is a window of the example that comes with vmkeep, whose DAG nobody has ever switched on."""


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
    peak: int
    """The most backups that ran at the same time on this day."""
    last_ended: Moment | None
    over: str
    """The time from the window's end to that of its last backup; empty: it ended in time."""
    bars: tuple[DayBar, ...]
    words: str
    """The drawing in one sentence."""
    backups: tuple[BackupRow, ...]
    more: int
    """Backups that are not listed."""


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
    rows: tuple[WindowRow, ...]
    problems: tuple[str, ...]


def windows_page(
    seen: Sequence[WindowSeen],
    planned: Sequence[WindowPlanned],
    day: date,
    *,
    now: datetime,
    problems: Sequence[str] = (),
) -> WindowsPage:
    """Return the page of one day.

    :param seen: the windows that touch the day.
    :param planned: the windows without a run that touch the day.
    """
    rows = [_seen_row(each, day, now) for each in seen] + [_planned_row(each, day, now) for each in planned]
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


def _seen_row(seen: WindowSeen, day: date, now: datetime) -> WindowRow:
    ended = [each.ended_at for each in seen.backups if each.ended_at is not None]
    last = max(ended) if ended else None
    state = _state(seen, last, now)
    times = [(each.begun_at, each.ended_at or now) for each in seen.backups]
    bars, peak = day_bars(seen.opens_at, seen.closes_at, times, day)
    count = {ending: sum(each.ending == ending for each in seen.backups) for ending in _BAD_ENDINGS}
    is_late = last is not None and seen.closes_at is not None and last > seen.closes_at
    over = age((last - seen.closes_at).total_seconds()) if is_late and last and seen.closes_at else ""
    opens = moment(seen.opens_at, now)
    assert opens is not None
    not_fit = count["not started"] + count["stopped"] + (count["running"] + count["waiting"] if seen.is_over else 0)
    rank = {ending: number for number, ending in enumerate(_BAD_ENDINGS)}
    listed = sorted(seen.backups, key=lambda each: (rank.get(each.ending, 0), -_seconds(each, now), each.name))
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
        done=count["done"],
        failed=count["failed"],
        not_fit=not_fit,
        in_work=0 if seen.is_over else count["running"] + count["waiting"],
        left_out=seen.left_out,
        peak=peak,
        last_ended=moment(last, now),
        over=over,
        bars=bars,
        words=_words(seen, peak, over),
        backups=tuple(_backup_row(each, day, now) for each in listed[:BACKUPS]),
        more=max(0, len(listed) - BACKUPS),
    )


def _planned_row(planned: WindowPlanned, day: date, now: datetime) -> WindowRow:
    state = _planned_state(planned, now)
    opens = moment(planned.opens_at, now)
    assert opens is not None
    return WindowRow(
        policy=plain(planned.policy), dag_id="", run_id="", opens=opens, closes=moment(planned.closes_at, now),
        state=state, label=state.label, tone=state.tone, vms=0, done=0, failed=0, not_fit=0, in_work=0, left_out=0,
        peak=0, last_ended=None, over="", bars=tuple(band(planned.opens_at, planned.closes_at, day)),
        words=f"from {planned.opens_at:%H:%M} to {planned.closes_at:%H:%M} UTC; {state.meaning}", backups=(), more=0,
    )  # fmt: skip


def _planned_state(planned: WindowPlanned, now: datetime) -> WindowState:
    if planned.opens_at > now:
        return WindowState.COMING
    if planned.is_idle_example:
        return WindowState.EXAMPLE
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
        return WindowState.NO_PLAN if seen.is_over else waits
    if endings & {"not started", "stopped"} or (seen.is_over and endings & {"running", "waiting"}):
        return WindowState.NOT_FIT
    if "failed" in endings:
        return WindowState.FAILED
    if not seen.is_over:
        # Its copies to a second repository may last longer than it is open.
        is_overdue = now > seen.closes_at and bool(endings & {"running", "waiting"})
        return WindowState.OVERDUE if is_overdue else WindowState.OPEN
    if not seen.backups:
        return WindowState.EMPTY
    return WindowState.LATE if last is not None and last > seen.closes_at else WindowState.DONE


def _words(seen: WindowSeen, peak: int, over: str) -> str:
    closes = f" to {seen.closes_at:%H:%M}" if seen.closes_at else ""
    most = f"; at most {counted(peak, 'backup')} at once" if peak else "; no backup ran on this day"
    return f"from {seen.opens_at:%H:%M}{closes} UTC{most}{f'; the last one ended {over} after its end' if over else ''}"


def _backup_row(each: WindowBackup, day: date, now: datetime) -> BackupRow:
    tone = {"done": "good", "running": "calm", "waiting": "calm"}.get(each.ending, "bad")
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
