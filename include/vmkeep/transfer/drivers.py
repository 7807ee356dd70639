"""Finds the disk drivers, and chooses the one for a site, with the reason.

A driver is a :class:`vmkeep.model.diskaccess.DiskDriver`, named by an entry point of the group
``vmkeep.disk_drivers``. vmkeep's own drivers are listed here in the same form, because the metadata of an installed
package may be older than its code. The site may name drivers, and then those are tried in that order and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Final, cast

from vmkeep.errors import UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.diskaccess import DiskDriver, Launch
from vmkeep.model.site import Site

GROUP: Final = "vmkeep.disk_drivers"
_OWN: Final = {"vddk": "vmkeep.vddk.driver:VDDK", "lun": "vmkeep.proxy.lundriver:LUN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverChoice:
    """The driver of a transfer."""

    name: str
    place: str
    """The driver's module and name, as in an entry point. The child loads it from there."""
    launch: Launch
    holds: bool
    """Whether it can take and end access holds."""
    reason: str
    """The reason for this driver, with the reasons against the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    name: str
    place: str
    driver: DiskDriver | None
    problem: VmKeepError | None = None
    """The reason why the driver does not load."""


def find_drivers() -> None:
    """Find all drivers and load vmkeep's own, so that processes which are forked later need not."""
    for name, place in _places().items():
        if name in _OWN:
            _load(name, place)


def load_driver(place: str) -> DiskDriver:
    """Import a driver from ``module:name``."""
    module, _, name = place.partition(":")
    return cast("DiskDriver", getattr(import_module(module), name))


def choose_driver(site: Site, *, holding: bool = False) -> DriverChoice:
    """Return the first driver of the order that can work for a site.

    :param holding: only a driver that can take and end access holds.
    :raises VmKeepError: no driver can. With several drivers, the message has each one's reason.
    """
    chosen, works, against, errors = None, [], [], []
    for known in _in_order(site):
        if holding and (known.driver is None or not known.driver.holds):
            continue
        try:
            launch = _require(known, site)
        except VmKeepError as error:
            against.append(f"{known.name} cannot: {error}")
            errors.append(error)
            continue
        if chosen is None:
            chosen = (known, launch)
        else:
            works.append(known.name)
    if chosen is None:
        if len(errors) == 1:
            raise errors[0]
        raise UsageError(f"no disk driver works here: {'; '.join(against) or 'there is none'}")
    known, launch = chosen
    only = f"{known.name} is the only disk driver that works here"
    first = f"{known.name} comes first of those that can" if works else only
    could = [f"{', '.join(works)} could too"] if works else []
    return DriverChoice(
        name=known.name,
        place=known.place,
        launch=launch,
        holds=known.driver is not None and known.driver.holds,
        reason="; ".join([first, *could, *against]),
    )


def _require(known: _Known, site: Site) -> Launch:
    if known.driver is None:
        raise known.problem or UsageError(f"{known.name} does not load")
    return known.driver.require(site)


def _in_order(site: Site) -> Iterator[_Known]:
    """Yield the drivers that the site allows.

    :raises UsageError: the site names a driver that nobody has installed.
    """
    places = _places()
    for name in site.disk_drivers:
        if name not in places:
            raise UsageError(
                f"no disk driver is called '{name}': install the package that brings it, or choose from "
                f"{', '.join(sorted(places))}"
            )
    if site.disk_drivers:
        yield from (_load(name, places[name]) for name in dict.fromkeys(site.disk_drivers))
        return
    loaded = [_load(name, place) for name, place in sorted(places.items())]
    ranks = [(one.driver.rank if one.driver is not None else 0, one) for one in loaded]
    yield from (one for rank, one in sorted(ranks, key=lambda pair: pair[0] or 0) if rank is not None)


def _load(name: str, place: str) -> _Known:
    try:
        return _Known(name=name, place=place, driver=load_driver(place))
    except Exception as error:  # noqa: BLE001 - another package's code may raise anything while it is imported
        problem = UsageError(f"the driver at {place} does not load: {type(error).__name__}: {error}")
        return _Known(name=name, place=place, driver=None, problem=problem)


@cache
def _places() -> dict[str, str]:
    """Return the drivers that are installed, by name."""
    from importlib.metadata import entry_points  # imported later, because the child has to import little before VDDK

    return {**{entry.name: entry.value for entry in entry_points(group=GROUP)}, **_OWN}
