"""The schedule of a soak, drawn from its seed: which processes start when, and what happens to each of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.soak.actions import Order

_WEIGHTS = {
    "import_full": 3, "import_changes": 4, "backup": 9, "copy": 7, "prune_source": 6, "prune_target": 4,
    "merge": 2, "check": 2,
}  # fmt: skip
_DAY = 86400.0
_OFFSETS = (0.0, 0.0, 7200.0, -7200.0, 30 * _DAY, -30 * _DAY)


@dataclass(frozen=True, slots=True)
class Stop:
    """A process is stopped so long after it started, or went on, and for so long. All in seconds."""

    after: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """One process: what it does, and what happens to it meanwhile."""

    order: Order
    starts_after: float
    """Seconds after the one before."""
    stops: tuple[Stop, ...]
    killed_after: float | None


def schedule(seed: int, *, left_for: float, pace: float) -> Iterator[Fate]:
    """Yield one process after the other, for ever.

    :param pace: seconds between two starts, on average.
    """
    chance = random.Random(seed)
    number = 0
    while True:
        action = chance.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))[0]
        # Processes that do the same come in groups: two tries of one run, two copies of one point.
        for _ in range(chance.choice((1, 1, 2, 3)) if action in ("backup", "copy", "prune_source") else 1):
            number += 1
            yield Fate(
                order=Order(
                    number=number,
                    action=action,
                    seed=chance.getrandbits(32),
                    run=f"run-{number // 4}",
                    clock_offset=chance.choice(_OFFSETS),
                    slow_store=chance.choice((0.0, 0.1, 0.4)),
                    slow_source=chance.choice((0.0, 0.0, 0.1, left_for / 4)),
                ),
                starts_after=chance.expovariate(1 / pace),
                stops=tuple(_stop(chance, left_for) for _ in range(chance.choice((0, 1, 1, 2, 4)))),
                killed_after=chance.expovariate(1.0) if chance.random() < 0.15 else None,
            )


def _stop(chance: random.Random, left_for: float) -> Stop:
    long = chance.random() < 0.1
    return Stop(after=chance.expovariate(2.0), duration=left_for * 1.5 if long else chance.expovariate(1.5))
