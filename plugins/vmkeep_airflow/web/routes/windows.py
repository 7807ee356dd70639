"""The page of one day's windows."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.web import WindowsPage, windows_page
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.dayswindows import find_windows
from vmkeep_airflow.web.frame import answer_router, data, html, page_router

pages = page_router()
answers = answer_router()

_Day = Annotated[date | None, Query(description="A day of UTC, as 2026-11-27; without it, today")]


def _load(user: Any, day: date | None) -> WindowsPage:
    at = now()
    today = at.astimezone(UTC).date()
    # Later days would only repeat the policies, and the calendar ends.
    chosen = max(date(2000, 1, 1), min(day or today, today + timedelta(days=1)))
    seen, planned, problems = find_windows(user, chosen)
    return windows_page(seen, planned, chosen, now=at, problems=problems)


@pages.get("/windows")
def show_windows(user: Viewer, day: _Day = None) -> HTMLResponse:
    """Show the windows of one day."""
    return html("windows.html", user, page=_load(user, day))


@answers.get("/windows", response_model=WindowsPage, summary="The windows of one day, and what ran in them")
def tell_windows(user: Viewer, day: _Day = None) -> Response:
    """Return the page of the windows as data. Times are in UTC; bars are in minutes of the day."""
    return data(_load(user, day))
