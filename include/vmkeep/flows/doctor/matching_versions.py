"""Tells whether a VDDK goes with a vCenter and its hosts, by what VMware says of each VDDK.

VMware's rule is two generations of vSphere back and one forward. Its release notes name the generations of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vmkeep.flows.doctor.values import Answer, ok, unknown, warning

_SUPPORTED: Final[Mapping[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]] = {
    (6, 5): ((5, 5), (6, 5)),
    (6, 7): ((6, 0), (7, 0)),
    (7, 0): ((6, 5), (8, 0)),
    (8, 0): ((6, 7), (9, 0)),
    (9, 0): ((7, 0), (9, 99)),
}
"""By generation of VDDK, the oldest and the newest generation of vSphere that go with it."""
NEWEST_KNOWN: Final = (9, 99)
"""Generations of vSphere above this one are not in the table."""


def match(vddk: str, servers: Mapping[str, str | None]) -> Answer:
    """Return whether a VDDK goes with some servers. Pure.

    :param vddk: its version, e.g. ``8.0.3``.
    :param servers: version by name of the vCenter and of each host; ``None``: it is not known.
    """
    generation = _generation(vddk)
    known = [row for row in _SUPPORTED if generation is not None and row <= generation and row[0] == generation[0]]
    if not known:
        return unknown(f"which vSphere goes with VDDK {vddk} is not known here: look into its release notes")
    oldest, newest = _SUPPORTED[max(known)]
    outside, unsure = [], []
    for name, version in servers.items():
        its = _generation(version)
        if its is None or its > NEWEST_KNOWN:
            unsure.append(f"{name} ({version or 'version unknown'})")
        elif not oldest <= its <= newest:
            outside.append(f"{name} ({version})")
    upto = "9" if newest == NEWEST_KNOWN else f"{newest[0]}.{newest[1]}"
    span = f"VDDK {vddk} is made for vSphere {oldest[0]}.{oldest[1]} to {upto}"
    if outside:
        return warning(f"{span}, and not for {_shortened(outside)}", "install a VDDK of a generation that fits all")
    if unsure:
        return unknown(f"{span}; it is not known whether it goes with {_shortened(unsure)}")
    return ok(f"{span}, as all {len(servers)} servers are")


def _generation(version: str | None) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", version or "")
    return (int(found[1]), int(found[2])) if found else None


def _shortened(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
