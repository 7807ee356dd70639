"""The page of the warnings of a restore point. It opens the point's repository, because no catalog has their texts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.web import WarningsPage, warnings_page
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.repositories import load_warnings
from vmkeep_airflow.web.sources import load_point

pages = page_router()
answers = answer_router()

_Id = Annotated[str, Path(max_length=LONGEST, description="Id of a point")]


def _load(point_id: str) -> WarningsPage:
    """Read the page.

    :raises NotFoundError: the point is gone, or no connection leads to its repository.
    :raises CorruptError: the point is damaged.
    """
    point = load_point(point_id)
    return warnings_page(point, load_warnings(point.repository, point.ref), now=now())


@pages.get("/warnings/{point_id}")
def show_warnings(user: Viewer, point_id: _Id) -> HTMLResponse:
    """Show the warnings of a point."""
    return html("warnings.html", user, page=_load(point_id))


@answers.get("/warnings/{point_id}", response_model=WarningsPage, summary="The warnings of a restore point")
def tell_warnings(point_id: _Id) -> Response:
    """Return the warnings that a backup left in its point. It opens the repository."""
    return data(_load(point_id))
