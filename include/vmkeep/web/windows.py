"""The page of one day's windows: what ran when, against the window of its policy, and what did not fit. Pure.

A day is one of UTC, because the windows of policies may have time zones of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final

from vmkeep.model.wording import age, counted
from vmkeep.web.words import Moment, moment, plain

BACKUPS: Final = 50
"""Backups of a window that the page lists."""
_SLOT: Final = 15
"""Minutes of one bar of the drawing."""
_DAY: Final = timedelta(days=1)
_MINUTES: Final = 24 * 60
_HEIGHT: Final = 36


class WindowState(StrEnum):
    """How a window went, the worst that is true."""

    MISSED = "missed"
    NO_PLAN = "no plan"
    NOT_FIT = "not fit"
    FAILED = "failed"
    EMPTY = "empty"
    NO_RUN = "no run"
    LATE = "late"
    OPEN = "open"
    DONE = "done"
    SUPERSEDED = "superseded"
    COMING = "coming"

    @property
    def label(self) -> str:
        """The state in a few words."""
        return _LABELS[self][0]

    @property
    def tone(self) -> str:
        """The tone in which a page shows it."""
        return _LABELS[self][1]

    @property
    def meaning(self) -> str:
        """The state in a sentence."""
        return _LABELS[self][2]


_LABELS: Final = {
    WindowState.MISSED: ("missed", "bad", "nothing ran while it was open, and its policy does not catch up"),
    WindowState.NO_PLAN: ("no plan", "bad", "its run knew no VMs; its task 'plan' tells why"),
    WindowState.NOT_FIT: ("did not fit", "bad", "VMs of it were not backed up before it closed"),
    WindowState.FAILED: ("failures", "bad", "backups of it have failed"),
    WindowState.EMPTY: ("no VM", "warn", "its policy takes no VM that can be backed up"),
    WindowState.NO_RUN: (
        "no run", "warn",
        "the policy has it, as its file is now, and Airflow has no run: its DAG was paused, is newer, or was changed",
    ),
    WindowState.LATE: ("ran over", "warn", "its last backup ended after it had closed"),
    WindowState.OPEN: ("open", "calm", "its backups are at work"),
    WindowState.DONE: ("in time", "good", "all its backups ended before it closed"),
    WindowState.SUPERSEDED: ("superseded", "calm", "a later window has backed up the same VMs"),
    WindowState.COMING: ("coming", "calm", "it has not opened yet"),
}  # fmt: skip
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlanned:
    """A window that a policy has, as its file is now, and that Airflow has no run of."""

    policy: str
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A bar in the drawing of a day, in minutes of that day, and its class in the style sheet."""

    x: int
    width: int
    y: float
    height: float
    kind: str


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
    after = day + _DAY
    return WindowsPage(
        day=day.isoformat(),
        before=(day - _DAY).isoformat(),
        after=after.isoformat() if after <= today + _DAY else "",
        is_today=day == today,
        now_at=_minute(now, day) if day == today else None,
        sentence=_sentence(rows),
        rows=tuple(rows),
        problems=tuple(problems),
    )


def bounds_of(day: date) -> tuple[datetime, datetime]:
    """Return the beginning of a day and that of the next one."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + _DAY


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
    state = _state(seen, last)
    bars, peak = _day_bars(seen, day, now)
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
    state = WindowState.COMING if planned.opens_at > now else WindowState.NO_RUN
    opens = moment(planned.opens_at, now)
    assert opens is not None
    return WindowRow(
        policy=plain(planned.policy), dag_id="", run_id="", opens=opens, closes=moment(planned.closes_at, now),
        state=state, label=state.label, tone=state.tone, vms=0, done=0, failed=0, not_fit=0, in_work=0, left_out=0,
        peak=0, last_ended=None, over="", bars=tuple(_band(planned.opens_at, planned.closes_at, day)),
        words=f"from {planned.opens_at:%H:%M} to {planned.closes_at:%H:%M} UTC; {state.meaning}", backups=(), more=0,
    )  # fmt: skip


def _state(seen: WindowSeen, last: datetime | None) -> WindowState:
    endings = {each.ending for each in seen.backups}
    if seen.due == "missed":
        return WindowState.MISSED
    if seen.due == "superseded":
        return WindowState.SUPERSEDED
    if seen.closes_at is None:
        return WindowState.NO_PLAN if seen.is_over else WindowState.OPEN
    if endings & {"not started", "stopped"} or (seen.is_over and endings & {"running", "waiting"}):
        return WindowState.NOT_FIT
    if "failed" in endings:
        return WindowState.FAILED
    if not seen.is_over:
        return WindowState.OPEN
    if not seen.backups:
        return WindowState.EMPTY
    return WindowState.LATE if last is not None and last > seen.closes_at else WindowState.DONE


def _words(seen: WindowSeen, peak: int, over: str) -> str:
    closes = f" to {seen.closes_at:%H:%M}" if seen.closes_at else ""
    most = f"; at most {counted(peak, 'backup')} at once" if peak else "; no backup ran on this day"
    return f"from {seen.opens_at:%H:%M}{closes} UTC{most}{f'; the last one ended {over} after its end' if over else ''}"


def _day_bars(seen: WindowSeen, day: date, now: datetime) -> tuple[tuple[DayBar, ...], int]:
    """Return the drawing of a window, and the most backups at once: its band, and a bar for each time of day."""
    slots = [0] * (_MINUTES // _SLOT)
    for each in seen.backups:
        if (span := _span(each.begun_at, each.ended_at or now, day)) is not None:
            first, stop = span[0] // _SLOT, max(span[0] // _SLOT + 1, -(-span[1] // _SLOT))
            for number in range(first, min(stop, len(slots))):
                slots[number] += 1
    peak = max(slots)
    bars = list(_band(seen.opens_at, seen.closes_at or seen.opens_at, day))
    end = _MINUTES if seen.closes_at is None else (seen.closes_at - bounds_of(day)[0]).total_seconds() / 60
    numbered = ((number * _SLOT, count, number * _SLOT >= end) for number, count in enumerate(slots))
    for (count, is_over), group in groupby(numbered, key=lambda slot: slot[1:]):
        places = [place for place, _, _ in group]
        if count:
            height = round((_HEIGHT - 4) * count / peak, 1)
            bars.append(
                DayBar(
                    x=places[0], width=_SLOT * len(places), y=round(_HEIGHT - height, 1), height=height,
                    kind="over" if is_over else "ran",
                )
            )  # fmt: skip
    return tuple(bars), peak


def _band(opens_at: datetime, closes_at: datetime, day: date) -> Iterator[DayBar]:
    if (span := _span(opens_at, closes_at, day)) is not None:
        yield DayBar(x=span[0], width=max(1, span[1] - span[0]), y=0, height=_HEIGHT, kind="band")


def _backup_row(each: WindowBackup, day: date, now: datetime) -> BackupRow:
    tone = {"done": "good", "running": "calm", "waiting": "calm"}.get(each.ending, "bad")
    span = _span(each.begun_at, each.ended_at or now, day)
    kind = {"good": "ran", "bad": "bad"}.get(tone, "calm")
    bars = () if span is None else (DayBar(x=span[0], width=max(4, span[1] - span[0]), y=0, height=_HEIGHT, kind=kind),)
    return BackupRow(
        name=plain(each.name),
        run_id=each.run_id if each.begun_at is not None else "",
        ending=each.ending,
        tone=tone,
        why=plain(each.why),
        begun=moment(each.begun_at, now),
        lasted=age(_seconds(each, now)) if each.begun_at is not None else "",
        bars=bars,
    )


def _seconds(each: WindowBackup, now: datetime) -> float:
    if each.begun_at is None:
        return 0.0
    return max(0.0, ((each.ended_at or now) - each.begun_at).total_seconds())


def _span(begun_at: datetime | None, ended_at: datetime, day: date) -> tuple[int, int] | None:
    """Return the minutes of a day that a time covers; ``None``: none."""
    begin, end = bounds_of(day)
    if begun_at is None or begun_at >= end or ended_at < begin:
        return None
    return _minute(max(begun_at, begin), day), _minute(min(ended_at, end), day)


def _minute(at: datetime, day: date) -> int:
    return int((at - bounds_of(day)[0]).total_seconds() // 60)
