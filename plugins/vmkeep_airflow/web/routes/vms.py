"""The page of a VM with its restore points, and the addresses that lead to a point and to the run that made it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, HTTPException, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from vmkeep.clock import now
from vmkeep.errors import NotFoundError
from vmkeep.flows.fleet import find_point, load_vm
from vmkeep.web import POINTS_A_PAGE, VmPage, vm_page
from vmkeep_airflow.web.access import Viewer, viewer
from vmkeep_airflow.web.dagrunlinks import path_of_run
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.paths import outer_path, own_path
from vmkeep_airflow.web.sources import load_point, required_sources

pages = page_router()
answers = answer_router()

_First = Annotated[int, Query(ge=0, le=1_000_000, description="Newer points that are left out")]
_From = Annotated[str | None, Query(alias="from", max_length=LONGEST, description="Id of a point to compare")]
_To = Annotated[str | None, Query(alias="to", max_length=LONGEST, description="Id of the other point")]


def _load(vm_key: str, *, first: int, before: str | None, after: str | None) -> VmPage:
    """Return the page of a VM.

    :param first: number of newer points that are left out.
    :param before: id of a point whose configuration is compared.
    :param after: id of the other point.
    :raises NotFoundError: no catalog has a point of it.
    :raises CatalogError: no catalog can be read.
    """
    sources = required_sources()
    at = now()
    found = from_catalogs(
        lambda: load_vm(sources.catalogs, vm_key, sources.policies, at, first=first, most=POINTS_A_PAGE + 1)
    )
    found = replace(found, problems=(*sources.problems, *found.problems))
    if not found.points:
        raise NotFoundError(f"the VM has {found.total} points, and none is left after the first {first}")
    compared = (before, after) if before and after else None
    return vm_page(found, now=at, compared=compared)


@pages.get("/vms/{vm_key}")
def show_vm(user: Viewer, vm_key: str, first: _First = 0, before: _From = None, after: _To = None) -> HTMLResponse:
    """Show a VM and its points."""
    return html("vm.html", user, page=_load(vm_key, first=first, before=before, after=after))


@answers.get("/vms/{vm_key}", response_model=VmPage, summary="A VM and its restore points")
def tell_vm(vm_key: str, first: _First = 0, before: _From = None, after: _To = None) -> Response:
    """Return the page of a VM as data. Sizes are in bytes, times in UTC."""
    return data(_load(vm_key, first=first, before=before, after=after))


@pages.get("/points/{point_id}", dependencies=[Depends(viewer)])
def show_point(point_id: str) -> Response:
    """Lead to a point on the page of its VM."""
    catalogs = required_sources().catalogs
    vm_key, newer = from_catalogs(lambda: find_point(catalogs, point_id))
    first = newer // POINTS_A_PAGE * POINTS_A_PAGE
    return RedirectResponse(f"{own_path('vms', vm_key)}?first={first}#p-{point_id}", status.HTTP_303_SEE_OTHER)


@pages.get("/runs/{point_id}", dependencies=[Depends(viewer)])
def show_run(point_id: str) -> Response:
    """Lead to the DAG run that made a point."""
    point = load_point(point_id)
    path = path_of_run(point.run, point.taken_at, point.moref)
    if path is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND,
            f"Airflow has no run of this point ({point.run}): a command made it, or the run was removed since.",
        )
    return RedirectResponse(f"{outer_path()}{path}", status.HTTP_303_SEE_OTHER)
