"""Limits on work that is done at the same time, over all runs, workers and proxies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The greatest number of permits for one thing, such as NFC sessions of one host, that are held at one time."""

    key: str
    """Identifies the thing in every process, e.g. ``nfc/<vCenter>/<host>``."""
    name: str
    """Its name for people, e.g. ``NFC sessions of host esx1``."""
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The holder of a permit, or a party that waits for one."""

    owner: str
    """Identifies the holder over all its tries. A second try takes over the permit of the first."""
    run: str
    """Run key. Signs of life in the run's area keep a permit without a lease."""
    what: str
    """The work, for people, e.g. ``copy of app1 Hard disk 1``."""
    lease: str | None = None
    """Name of the lease of the run that keeps the permit: it ends with the lease. ``None``: it ends when it is given
    back, or long after the run's last sign of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A limit, the work that holds its permits, and the work that waits, the oldest first."""

    limit: Limit
    holders: tuple[str, ...]
    waiting: tuple[str, ...]
