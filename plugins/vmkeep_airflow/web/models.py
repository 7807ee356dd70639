"""Makes the view models of pages from the catalogs that the connections name."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query

from vmkeep.clock import now
from vmkeep.errors import CatalogError, NotFoundError
from vmkeep.flows.fleet import ListedPoint, find_point, load_fleet, load_trends, load_vm
from vmkeep.web import (
    POINTS_A_PAGE,
    FleetPage,
    FleetQuery,
    FleetSort,
    HardwarePage,
    VmPage,
    VmState,
    fleet_page,
    hardware_page,
    vm_page,
)
from vmkeep_airflow.web.repositories import load_machine
from vmkeep_airflow.web.sources import Sources, find_sources


def _choice(
    q: Annotated[str, Query(max_length=200, description="A part of the VM's name or key")] = "",
    state: Annotated[VmState | str, Query(description="Only VMs in this state; empty: any")] = "",
    policy: Annotated[
        str, Query(max_length=200, description="Only VMs of this policy; empty: of none; an asterisk: of any")
    ] = "*",
    sort: Annotated[FleetSort, Query(description="The column to sort by")] = FleetSort.STATE,
    order: Annotated[str, Query(pattern="^(up|down)$")] = "up",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> FleetQuery:
    return FleetQuery(
        search=q,
        state=VmState(state) if state in set(VmState) else None,
        policy=None if policy == "*" else policy,
        sort=sort,
        down=order == "down",
        page=page,
    )


FleetChoice = Annotated[FleetQuery, Depends(_choice)]


def load_fleet_page(choice: FleetQuery) -> FleetPage:
    """Return the page of the fleet."""
    sources = find_sources()
    at = now()
    fleet = load_fleet(sources.catalogs, sources.policies, at)
    fleet = replace(fleet, problems=(*sources.problems, *fleet.problems))
    return fleet_page(fleet, choice, now=at, trends=lambda vms: load_trends(sources.catalogs, vms))


def load_vm_page(vm_key: str, *, first: int, before: str | None, after: str | None) -> VmPage:
    """Return the page of a VM.

    :param first: number of newer points that are left out.
    :param before: id of a point whose configuration is compared.
    :param after: id of the other point.
    :raises NotFoundError: no catalog has a point of it.
    :raises CatalogError: no catalog can be read.
    """
    sources = required_sources()
    at = now()
    found = load_vm(sources.catalogs, vm_key, sources.policies, at, first=first, most=POINTS_A_PAGE + 1)
    found = replace(found, problems=(*sources.problems, *found.problems))
    if not found.points:
        raise NotFoundError(f"the VM has {found.total} points, and none is left after the first {first}")
    compared = (before, after) if before and after else None
    return vm_page(found, now=at, compared=compared)


def required_sources() -> Sources:
    """Return the sources, if they name a catalog.

    :raises CatalogError: no connection names one.
    """
    sources = find_sources()
    if not sources.catalogs:
        why = "; ".join(sources.problems) or "there is no connection of type vmkeep"
        raise CatalogError(f"no connection names a catalog that can be used: {why}")
    return sources


def load_point(point_id: str) -> ListedPoint:
    """Return a point.

    :raises NotFoundError: no catalog has it.
    :raises CatalogError: no catalog can be read.
    """
    catalogs = required_sources().catalogs
    vm_key, newer = find_point(catalogs, point_id)
    for point in load_vm(catalogs, vm_key, (), now(), first=newer, most=1).points:
        if point.id == point_id:
            return point
    raise NotFoundError(f"restore point '{point_id}' was removed just now")


def load_hardware_page(before: str, after: str) -> HardwarePage:
    """Return the page of the hardware at two points, the older one first. It opens their repositories.

    :param before: id of a point.
    :param after: id of the other point.
    :raises NotFoundError: a point is gone, or no connection leads to its repository.
    :raises CorruptError: a point is damaged.
    """
    points = sorted((load_point(before), load_point(after)), key=lambda point: point.taken_at)
    if points[0].vm_key != points[1].vm_key:
        raise NotFoundError("these are points of two VMs, which have nothing to compare")
    older, newer = ((point, load_machine(point.repository, point.ref)) for point in points)
    return hardware_page(older, newer, now=now())
