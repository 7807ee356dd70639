"""Limits on work that is done at the same time, over all runs, workers and proxies."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.sizes import parse_size

MOST_NFC: Final = 50
"""VMware advises against more disks of one host in parallel, whatever its version is."""
_BUFFERS: Final = {5: 32, 6: 48, 7: 48}
"""MiB that a host has for the buffers of all NFC sessions together, by its main version. Later ones have 96."""
_OF_A_DISK: Final = 4
"""MiB of buffers that one disk takes."""
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_FORM: Final = "nfc=8, snapshots=8, free=5%, transfers=16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one site, as its administrator sets them."""

    nfc: int = 8
    """NFC sessions of one ESXi host. A host whose version serves fewer gets fewer."""
    snapshots: int = 8
    """Snapshots of running backups on one datastore."""
    free: str = "5%"
    """Space that a snapshot has to leave free on each datastore of its VM: a share of the capacity, or a size."""
    transfers: int | None = None
    """Disks that are copied into or out of one repository at the same time; ``None``: any number."""

    def nfc_of(self, version: str | None) -> int:
        """Return the NFC sessions that a host of some version gets: never more than its buffers serve.

        :param version: the version of ESXi; ``None``: not known, so that the host counts as an old one.
        """
        found = re.match(r"\d+", version or "")
        main = max(int(found.group()), min(_BUFFERS)) if found else min(_BUFFERS)
        most = _BUFFERS[main] // _OF_A_DISK if main in _BUFFERS else MOST_NFC
        return min(self.nfc, most)

    def floor_of(self, capacity: int) -> int:
        """Return the bytes that have to stay free on a datastore of some capacity."""
        if share := _SHARE.fullmatch(self.free):
            return int(capacity * float(share[1]) / 100)
        size = parse_size(self.free)
        assert size is not None
        return size


def parse_limits(text: str | None, base: Limits | None = None) -> Limits:
    """Return the limits that a text such as ``nfc=8, snapshots=4, free=10%, transfers=16`` sets.

    :param base: the limits that the text changes; ``None``: the usual ones.
    :raises UsageError: the text has another form, or a number is out of its range.
    """
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in _READERS or not equals or name in given:
            raise UsageError(f"limits: '{part}' is none or is given twice; write e.g. {_FORM}")
        given[name] = _READERS[name](name, value)
    return replace(base or Limits(), **given)


def _number(most: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
            raise UsageError(f"limits: {name} is a whole number from 1 to {most}, and not '{value}'")
        return int(value)

    return read


def _free(name: str, value: str) -> str:
    share = _SHARE.fullmatch(value)
    is_sound = float(share[1]) <= 99 if share else value.endswith("B") and parse_size(value) is not None
    if not is_sound:
        raise UsageError(f"limits: {name} is a share up to 99% or a size such as 200GiB, and not '{value}'")
    return value


_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "nfc": _number(MOST_NFC),
    "snapshots": _number(1000),
    "free": _free,
    "transfers": _number(1000),
}


def parse_transfers(text: str | None) -> Limits:
    """Return the limits of a site whose repository takes some number of transfers; ``None``: any number.

    :raises UsageError: it is no number, or out of its range.
    """
    return Limits() if text is None else Limits(transfers=_READERS["transfers"]("transfers", text.strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The greatest number of permits for one thing, such as NFC sessions of one host, that are held at one time."""

    key: str
    """Identifies the thing in every process, e.g. ``nfc/<vCenter>/<host>``."""
    name: str
    """Its name for people, e.g. ``NFC sessions of host esx1``."""
    most: int
    of_nfc: bool = False
    """It counts NFC sessions, which a disk that is opened by SAN or HotAdd does not use."""

    @property
    def setting(self) -> str:
        """The word in the *Limits* of a site that sets it, e.g. ``nfc``."""
        kind = self.key.removeprefix("snapshots/").partition("/")[0]
        return "snapshots" if kind == "datastore" else kind


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
    runs: tuple[str, ...] = ()
    """The run keys of the holders whose permits no lease ends."""
    since: tuple[datetime, ...] = ()
    """The time from which each of the waiting has waited."""
