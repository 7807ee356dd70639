"""The page of the hardware of a VM at two of its restore points. It opens their repositories."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.errors import NotFoundError
from vmkeep.flows.fleet import load_points
from vmkeep.web import HardwarePage, hardware_page
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.repositories import load_machine
from vmkeep_airflow.web.sources import required_sources

pages = page_router()
answers = answer_router()

_From = Annotated[str, Query(alias="from", max_length=LONGEST, description="Id of a point")]
_To = Annotated[str, Query(alias="to", max_length=LONGEST, description="Id of the other point")]


def _load(before: str, after: str) -> HardwarePage:
    """Return the page of the hardware at two points, the older one first.

    :param before: id of a point.
    :param after: id of the other point.
    :raises NotFoundError: a point is gone, or no connection leads to its repository.
    :raises CorruptError: a point is damaged.
    """
    catalogs = required_sources().catalogs
    found = from_catalogs(lambda: load_points(catalogs, before, after))
    points = sorted(found, key=lambda point: point.taken_at)
    if points[0].vm_key != points[1].vm_key:
        raise NotFoundError("these are points of two VMs, which have nothing to compare")
    older, newer = ((point, load_machine(point.repository, point.ref)) for point in points)
    return hardware_page(older, newer, now=now())


@pages.get("/hardware")
def show_hardware(user: Viewer, before: _From, after: _To) -> HTMLResponse:
    """Show how a VM's hardware differs between two of its points."""
    return html("hardware.html", user, page=_load(before, after))


@answers.get("/hardware", response_model=HardwarePage, summary="The hardware of a VM at two of its restore points")
def tell_hardware(before: _From, after: _To) -> Response:
    """Return how the saved configurations of two points differ. It opens their repositories."""
    return data(_load(before, after))
