"""Rate limits in bytes per second, by time of day: ``50MiB``, or ``20:00-06:00=unlimited,default=50MiB``."""

from __future__ import annotations

import re
from datetime import time

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?)?B(?:/s)?", re.IGNORECASE)
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_HELP = "write 50MiB, or by time of day 20:00-06:00=unlimited,default=50MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rate for a part of every day."""

    start: time
    stop: time
    """The end of the window; on the next day, if it is not after ``start``."""
    rate: float | None
    """Bytes per second; ``None``: there is no limit."""

    def covers(self, at: time) -> bool:
        """Return whether a time of day is in the window."""
        if self.start < self.stop:
            return self.start <= at < self.stop
        return at >= self.start or at < self.stop


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSchedule:
    """Rates by time of day. The first window that covers a time counts."""

    windows: tuple[Window, ...] = ()
    default: float | None = None

    def rate_at(self, at: time) -> float | None:
        """Return the bytes per second at a time of day; ``None``: there is no limit."""
        return next((window.rate for window in self.windows if window.covers(at)), self.default)


def parse_rates(text: str) -> RateSchedule:
    """Parse a rate, or windows with rates, separated by commas. Without a default, times in no window have no limit.

    :raises UsageError: the text does not parse, a rate is zero, or there are two defaults.
    """
    windows: list[Window] = []
    defaults: list[float | None] = []
    for part in text.split(","):
        when, equals, rate = part.strip().rpartition("=")
        if not equals or when.strip() == "default":
            defaults.append(_rate(rate, text))
        else:
            start, stop = _times(when.strip(), text)
            windows.append(Window(start=start, stop=stop, rate=_rate(rate, text)))
    if len(defaults) > 1:
        raise UsageError(f"rate limit '{text}': has two defaults; {_HELP}")
    return RateSchedule(windows=tuple(windows), default=defaults[0] if defaults else None)


def _rate(text: str, whole: str) -> float | None:
    if text.strip() == "unlimited":
        return None
    match = _RATE.fullmatch(text.strip())
    rate = float(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0.0
    if rate < 1:
        raise UsageError(f"rate limit '{whole}': '{text.strip()}' is no number of bytes per second; {_HELP}")
    return rate


def _times(text: str, whole: str) -> tuple[time, time]:
    match = _WINDOW.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        start, stop = time(int(match[1]), int(match[2])), time(int(match[3]) % 24, int(match[4]))
        if int(match[3]) > 24 or (int(match[3]) == 24 and stop != time(0)) or start == stop:
            raise ValueError
    except ValueError:
        raise UsageError(f"rate limit '{whole}': '{text}' is no part of a day; {_HELP}") from None
    return start, stop
