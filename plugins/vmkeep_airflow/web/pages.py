"""The pages: each asks for its view model, and fills its template."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from fastapi import APIRouter, Depends, HTTPException, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from vmkeep.flows.fleet import find_point
from vmkeep.web import POINTS_A_PAGE, STATIC, FleetSort, Frame, VmState, render
from vmkeep_airflow.web.access import Viewer, may_operate, operator, viewer
from vmkeep_airflow.web.dagrunlinks import path_of_run
from vmkeep_airflow.web.models import (
    FleetChoice,
    load_fleet_page,
    load_hardware_page,
    load_point,
    load_vm_page,
    required_sources,
)
from vmkeep_airflow.web.paths import outer_path, own_path
from vmkeep_airflow.web.repositories import load_screen

pages = APIRouter(include_in_schema=False)
LONGEST = 300
"""Characters of a name or a key in an address."""


def frame_of(user: Any) -> Frame:
    """Return the facts about a call that every page needs.

    :param user: ``None``: nobody is logged in.
    """
    return Frame(
        root=own_path(),
        airflow=outer_path(),
        user=str(user.get_name()) if user is not None else "",
        may_operate=user is not None and may_operate(user),
    )


def _page(template: str, user: Any, **values: Any) -> HTMLResponse:
    return HTMLResponse(render(template, frame_of(user), **values))


@pages.get("/", dependencies=[Depends(viewer)])
def front() -> Response:
    """Lead to the first page."""
    return RedirectResponse(own_path("fleet"), status.HTTP_303_SEE_OTHER)


@pages.get("/fleet")
def show_fleet(user: Viewer, choice: FleetChoice) -> HTMLResponse:
    """Show every VM."""
    page = load_fleet_page(choice)
    return _page("fleet.html", user, page=page, states=list(VmState), sorts={each.value: each for each in FleetSort})


@pages.get("/vms/{vm_key}")
def show_vm(
    user: Viewer,
    vm_key: str,
    first: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    before: Annotated[str | None, Query(alias="from", max_length=LONGEST)] = None,
    after: Annotated[str | None, Query(alias="to", max_length=LONGEST)] = None,
) -> HTMLResponse:
    """Show a VM and its points."""
    return _page("vm.html", user, page=load_vm_page(vm_key, first=first, before=before, after=after))


@pages.get("/hardware")
def show_hardware(
    user: Viewer,
    before: Annotated[str, Query(alias="from", max_length=LONGEST)],
    after: Annotated[str, Query(alias="to", max_length=LONGEST)],
) -> HTMLResponse:
    """Show how a VM's hardware differs between two of its points."""
    return _page("hardware.html", user, page=load_hardware_page(before, after))


@pages.get("/points/{point_id}", dependencies=[Depends(viewer)])
def show_point(point_id: str) -> Response:
    """Lead to a point on the page of its VM."""
    vm_key, newer = find_point(required_sources().catalogs, point_id)
    first = newer // POINTS_A_PAGE * POINTS_A_PAGE
    return RedirectResponse(f"{own_path('vms', vm_key)}?first={first}#p-{point_id}", status.HTTP_303_SEE_OTHER)


@pages.get("/runs/{point_id}", dependencies=[Depends(viewer)])
def show_run(point_id: str) -> Response:
    """Lead to the DAG run that made a point."""
    point = load_point(point_id)
    path = path_of_run(point.run, point.taken_at)
    if path is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND,
            f"Airflow has no run of this point ({point.run}): a command made it, or the run was removed since.",
        )
    return RedirectResponse(f"{outer_path()}{path}", status.HTTP_303_SEE_OTHER)


@pages.get("/screens/{repository}/{vm_key}/{name}", dependencies=[Depends(operator)])
def show_screen(repository: str, vm_key: str, name: str) -> Response:
    """Give the picture of a screen that a boot test kept with a point."""
    content = load_screen(repository, f"{vm_key}/{name}")
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@pages.get("/static/{name}")
def give_file(name: str) -> Response:
    """Give a file that pages load. It says nothing of anybody, so nobody is asked who calls."""
    if name not in STATIC:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such file.")
    file = STATIC[name]
    return Response(file.content(), media_type=file.media_type, headers={"Cache-Control": "public, max-age=300"})


def login_url(request: Request) -> str:
    """Return the address at which somebody logs in, and comes back from to the page that was asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    inner = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return get_auth_manager().get_url_login(next_url=f"{own_path()}/{inner.lstrip('/')}{query}")
