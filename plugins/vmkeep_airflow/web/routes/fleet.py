"""The page of the fleet: every VM, judged against its policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from fastapi import Depends, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from vmkeep.clock import now
from vmkeep.flows.fleet import load_fleet, load_trends
from vmkeep.web import FleetPage, FleetQuery, FleetSort, VmState, fleet_page
from vmkeep_airflow.web.access import Viewer, viewer
from vmkeep_airflow.web.frame import answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.paths import own_path
from vmkeep_airflow.web.sources import find_sources, require_catalog

pages = page_router()
answers = answer_router()


_STATES: Final[dict[str, VmState]] = {each.value: each for each in VmState}


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
        state=_STATES.get(state),
        policy=None if policy == "*" else policy,
        sort=sort,
        down=order == "down",
        page=page,
    )


FleetChoice = Annotated[FleetQuery, Depends(_choice)]


def _load(choice: FleetQuery, *, strict: bool = False) -> FleetPage:
    """Read the page.

    :param strict: a catalog has to be readable.
    :raises CatalogError: none is.
    """
    sources = find_sources()
    at = now()

    def read() -> FleetPage:
        fleet = load_fleet(sources.catalogs, sources.policies, at, names=sources.names)
        if strict:
            require_catalog(sources, fleet.problems)
        fleet = replace(fleet, problems=(*sources.problems, *fleet.problems))
        return fleet_page(fleet, choice, now=at, trends=lambda vms: load_trends(sources.catalogs, vms))

    return from_catalogs(read)


@pages.get("/", dependencies=[Depends(viewer)])
def front() -> Response:
    """Lead to the first page."""
    return RedirectResponse(own_path("fleet"), status.HTTP_303_SEE_OTHER)


@pages.get("/fleet")
def show_fleet(user: Viewer, choice: FleetChoice) -> HTMLResponse:
    """Show every VM."""
    sorts = {each.value: each for each in FleetSort}
    return html("fleet.html", user, page=_load(choice), states=list(VmState), sorts=sorts)


@answers.get("/fleet", response_model=FleetPage, summary="Every VM, judged against its policy")
def tell_fleet(choice: FleetChoice) -> Response:
    """Return the page of the fleet as data. Sizes are in bytes, times in UTC."""
    return data(_load(choice, strict=True))
