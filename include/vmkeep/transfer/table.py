"""Renders the table of a driver's calls at the end of a transfer's log."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.model.diskaccess import CallTiming


def render_timings(rows: Sequence[CallTiming], library: str) -> list[str]:
    """Return the table's lines; none without rows.

    :param library: name of the driver's library.
    """
    if not rows:
        return []
    lines = [f"{f'{library} call':<22}{'calls':>9}{'seconds':>10}{'longest':>10}{'MiB':>11}"]
    lines += [
        f"{row.name:<22}{row.calls:>9}{row.seconds:>10.3f}{row.longest:>10.3f}{row.bytes / (1 << 20):>11.1f}"
        for row in rows
    ]
    return lines
