"""Judges which windows did not open, and remembers of which ones people were told.

A window has opened if Airflow has begun a run for its opening. So it does not matter why it has not: its DAG is
switched off, Airflow does not have it, the scheduler made no run, or the run waits. Each look judges the last window of
each policy, so that of several which passed between two looks only the last is told. A window is judged from the second
look on at which its policy has the same times, because nobody can tell when a policy got them before the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from vmkeep.model.point import stamp_of
from vmkeep.policy import OPENS_WITHIN, Notifications, Policy, PolicyFile, Window

_WEEKS: Final = timedelta(weeks=5)
"""Time before a look in which the windows of a policy are compared with those that it had by its earlier times."""

KEY: Final = "missed_windows"
"""Key of the memory beside the asset ``vmkeep_windows``."""

_FAULTS: Final = "faults"
_NEVER_ON: Final = "never on"
"""Words in place of a window: they are told once, and not for each window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A window that did not open, or a policy none of whose windows can."""

    policy: str
    window: str
    """The moment of its opening, as in the names of runs; or a word for all windows of the policy."""
    why: str
    wish: Notifications | None
    """``None``: the policy cannot be read, so that nobody knows its people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDags:
    """Answers of Airflow about the DAGs of windows, each by the name of a policy."""

    is_on: Callable[[str], bool | None]
    """Whether the DAG is switched on; ``None``: Airflow does not have it."""
    has_run: Callable[[str, datetime | None], bool]
    """Whether there is a run for the opening at a moment; ``None``: any run."""
    waits: Callable[[str, datetime], bool]
    """Whether the run for the opening at a moment is in the queue, so that none of its tasks can begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The facts that one look hands on to the next."""

    windows: Mapping[str, Mapping[str, Any]]
    """By policy, its times as plain data."""
    since: Mapping[str, str]
    """By policy, the look that found these times first."""
    told: Mapping[str, str]
    """By policy, the window or the word of which people were told."""

    @classmethod
    def from_plain(cls, plain: Any) -> Memory:
        """Return the memory that a look has left; an empty one if it has left none, or another version has."""
        found = plain if isinstance(plain, Mapping) else {}
        parts = {name: found.get(name) for name in ("windows", "since", "told")}
        return cls(**{name: part if isinstance(part, Mapping) else {} for name, part in parts.items()})

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"windows": dict(self.windows), "since": dict(self.since), "told": dict(self.told)}


def look(files: Sequence[PolicyFile], earlier: Memory, dags: WindowDags, at: datetime) -> tuple[list[Missed], Memory]:
    """Return the windows of which people have to be told, and the memory for the case that all of them are told."""
    windows, since, told = {}, {}, {}
    missed: list[Missed] = []
    for read in files:
        name = read.path.stem
        before = earlier.told.get(name)
        if read.policy is None:
            found: Missed | None = _faulty(name)
        else:
            windows[name] = read.policy.window.to_plain()
            is_same = name in earlier.windows and _opens_as_before(earlier.windows[name], read.policy.window, at)
            first = _moment_before(at, earlier.since.get(name)) if is_same else at
            since[name] = first.isoformat()
            found = _judged(read.policy, dags, since=first, at=at)
            if found is not None and found.window == _NEVER_ON and read.is_example:
                found = None  # nobody waits for the windows of the example that comes with vmkeep
        if found is not None:
            told[name] = found.window
            if found.window != before:
                missed.append(found)
        elif before not in (None, _FAULTS):
            told[name] = before
    return missed, Memory(windows=windows, since=since, told=told)


def _moment_before(at: datetime, text: Any) -> datetime:
    """Return the moment that an earlier look has left; ``at``: it is none, or lies ahead, as after a wrong clock."""
    try:
        found = datetime.fromisoformat(text)
        return min(found, at)
    except (TypeError, ValueError):
        return at


def times_since(memory: Memory, policy: Policy, at: datetime) -> datetime | None:
    """Return the moment since which a policy is known to have its times; ``None``: no look has seen the policy.

    A policy whose times differ from those of the last look has been edited since, so that it is ``at``.
    """
    if policy.name not in memory.windows:
        return None
    is_same = _opens_as_before(memory.windows[policy.name], policy.window, at)
    return _moment_before(at, memory.since.get(policy.name)) if is_same else at


def _opens_as_before(earlier: Mapping[str, Any], window: Window, at: datetime) -> bool:
    """Return whether a policy's windows of the last weeks opened at the same moments by its earlier times.

    An edit that changes none of them, e.g. a holiday to come or another end, hides no window that did not open.
    """
    if earlier == window.to_plain():
        return True
    try:
        return _openings(Window.from_plain(earlier), at) == _openings(window, at)
    except (KeyError, TypeError, ValueError):  # another version has left them
        return False


def _openings(window: Window, at: datetime) -> list[datetime]:
    """Return the moments of the last weeks at which a window opened."""
    found: list[datetime] = []
    coming = window.next_opening(at - _WEEKS)
    while coming is not None and coming.opens_at <= at:
        found.append(coming.opens_at)
        coming = window.next_opening(coming.opens_at)
    return found


def untold(memory: Memory, missed: Sequence[Missed]) -> Memory:
    """Return the memory without windows of which not everybody was told, so that the next look tells them again."""
    names = {each.policy for each in missed}
    return Memory(
        windows=memory.windows,
        since=memory.since,
        told={name: window for name, window in memory.told.items() if name not in names},
    )


def by_people(missed: Sequence[Missed], everybody: Sequence[Notifications]) -> Iterator[tuple[list[Missed], list[Any]]]:
    """Yield the windows with the wishes of those who are to be told of them, one notice for each circle of people.

    :param everybody: the wishes of all policies. They are told of a policy that cannot be read.
    """
    circles: dict[tuple[Notifications, ...], list[Missed]] = {}
    for each in missed:
        wishes = tuple(dict.fromkeys(everybody)) if each.wish is None else (each.wish,)
        circles.setdefault(wishes, []).append(each)
    yield from ((some, list(wishes)) for wishes, some in circles.items())


def _faulty(name: str) -> Missed:
    why = "its policy file has faults, so that no window opens: see the DAG policy_faults, or 'vmkeep policy check'"
    return Missed(policy=name, window=_FAULTS, why=why, wish=None)


def _judged(policy: Policy, dags: WindowDags, *, since: datetime, at: datetime) -> Missed | None:
    """Return a policy's last window, if it did not open."""
    opening = policy.window.last_opening(at - OPENS_WITHIN)
    if opening is None or opening.opens_at < since:
        return None
    made = dags.has_run(policy.name, opening.opens_at)
    if made and not dags.waits(policy.name, opening.opens_at):
        return None
    is_on = dags.is_on(policy.name)
    window = stamp_of(opening.opens_at)
    if is_on is None:
        why = "Airflow does not have its DAG: look for import errors, and at the DAG processor"
    elif is_on and made:
        why = "its run waits in the queue: an earlier window is still at work, or the scheduler does not begin runs"
    elif is_on:
        why = "its DAG is switched on, and Airflow made no run: look at the scheduler and the DAG processor"
    elif dags.has_run(policy.name, None):
        why = "its DAG is switched off: switch it on, and the window is caught up"
    else:
        window, why = _NEVER_ON, "its DAG was never switched on: switch it on, or remove the policy file"
    shown = f"the window of {opening.opens_at:%Y-%m-%d %H:%M} UTC did not open: {why}"
    return Missed(policy=policy.name, window=window, why=shown, wish=policy.notifications)
