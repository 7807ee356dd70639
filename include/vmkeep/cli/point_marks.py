"""Words for the marks that restore points have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.clock import now

if TYPE_CHECKING:
    from datetime import datetime

    from vmkeep.flows.clean_points import Cleanness
    from vmkeep.flows.points import Marks, Use


def short_marks(marks: Marks, uses: Sequence[Use] = (), scan: Cleanness | None = None) -> str:
    """Return the marks and uses of a point in a few words.

    :param scan: the doubt about it by malware scans; ``None``: there is none.
    """
    words = []
    if marks.pin is not None:
        over = "" if marks.pin.holds(now()) else "was "
        words.append(over + "pinned" + (f" until {_end(marks.pin.until)}" if marks.pin.until else ""))
    if marks.damage is not None:
        words.append("DAMAGED")
    if marks.suspicion is not None:
        words.append("SUSPECT")
    if scan is not None:
        words.append(scan.upper())
    words += dict.fromkeys(f"{use.doing} on {use.host}" for use in uses)
    return ", ".join(words)


def _end(until: datetime) -> str:
    zone = shown_zone()
    return f"{shown_time(until, zone)} {zone}"
