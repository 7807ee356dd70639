"""The page of the repositories: everything on it is noted by the daily look, and by checks when they end."""

from __future__ import annotations

from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.flows.capacity import load_capacity
from vmkeep.web import RepositoriesPage, repositories_page
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.frame import answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.sources import find_sources, require_catalog

pages = page_router()
answers = answer_router()


def _load(*, strict: bool = False) -> RepositoriesPage:
    """Read the page.

    :param strict: a catalog has to be readable.
    :raises CatalogError: none is.
    """
    sources, at = find_sources(), now()
    notes, problems = from_catalogs(lambda: load_capacity(sources.catalogs, at))
    if strict:
        require_catalog(sources, problems)
    return repositories_page(notes, problems=(*sources.unread, *problems), now=at)


@pages.get("/repositories")
def show_repositories(user: Viewer) -> HTMLResponse:
    """Show every repository."""
    return html("repositories.html", user, page=_load())


@answers.get("/repositories", response_model=RepositoriesPage, summary="Sizes, checks and next losses of repositories")
def tell_repositories() -> Response:
    """Return the page of the repositories as data. Times are in UTC."""
    return data(_load(strict=True))
