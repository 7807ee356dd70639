"""The page of the recoveries: plan files are read when somebody looks, and runs are noted by the daily look."""

from __future__ import annotations

from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.flows.recovery_overview import load_recoveries
from vmkeep.web import RecoveriesPage, recoveries_page
from vmkeep_airflow.plans import PREFIX, plan_files
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.frame import answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.sources import dags_off, find_sources, require_catalog

pages = page_router()
answers = answer_router()


def _load(*, strict: bool = False) -> RecoveriesPage:
    """Read the page.

    :param strict: a catalog has to be readable.
    :raises CatalogError: none is.
    """
    sources = find_sources()
    runs, problems = from_catalogs(lambda: load_recoveries(sources.catalogs))
    if strict:
        require_catalog(sources, problems)
    files, unread = plan_files()
    drills = {f"{PREFIX}{read.plan.name}": read.plan.name for read in files if read.plan}
    off = {drills[dag] for dag in dags_off(list(drills))}
    return recoveries_page(files, runs, off=off, problems=(*unread, *sources.unread, *problems), now=now())


@pages.get("/recoveries")
def show_recoveries(user: Viewer) -> HTMLResponse:
    """Show every recovery plan, and its drills and recoveries."""
    return html("recoveries.html", user, page=_load())


@answers.get("/recoveries", response_model=RecoveriesPage, summary="Recovery plans, their drills and recoveries")
def tell_recoveries() -> Response:
    """Return the page of the recoveries as data. Times are in UTC."""
    return data(_load(strict=True))
