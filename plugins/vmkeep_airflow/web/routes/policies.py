"""The page of the policies: their files are read when somebody looks."""

from __future__ import annotations

from dataclasses import replace

from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.flows.fleet import load_fleet
from vmkeep.web import PoliciesPage, policies_page
from vmkeep_airflow.policies import CHECKS, EXPORTS, PREFIX, SCANS
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.frame import answer_router, data, html, page_router
from vmkeep_airflow.web.limits import from_catalogs
from vmkeep_airflow.web.sources import dags_off, find_sources, require_catalog

pages = page_router()
answers = answer_router()

_KINDS = (PREFIX, CHECKS, SCANS, EXPORTS)
"""The beginnings of the ids of a policy's DAGs."""


def _load(*, strict: bool = False) -> PoliciesPage:
    """Read the page.

    :param strict: a catalog has to be readable.
    :raises CatalogError: none is.
    """
    sources = find_sources()
    at = now()
    fleet = from_catalogs(lambda: load_fleet(sources.catalogs, sources.policies, at, names=sources.names))
    if strict:
        require_catalog(sources, fleet.problems)
    names = [read.policy.name for read in sources.files if read.policy]
    off = dags_off([f"{kind}{name}" for name in names for kind in _KINDS])
    of_policy = {name: [f"{kind}{name}" for kind in _KINDS if f"{kind}{name}" in off] for name in names}
    return policies_page(
        sources.files, replace(fleet, problems=(*sources.unread, *fleet.problems)), off=of_policy, now=at
    )


@pages.get("/policies")
def show_policies(user: Viewer) -> HTMLResponse:
    """Show every policy."""
    return html("policies.html", user, page=_load())


@answers.get("/policies", response_model=PoliciesPage, summary="Every policy, its VMs by state, and its faults")
def tell_policies() -> Response:
    """Return the page of the policies as data. Times are in UTC."""
    return data(_load(strict=True))
