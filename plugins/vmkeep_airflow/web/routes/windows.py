"""The page of one day's windows."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.web import BackupGroup, ListedBackups, WindowsPage, windows_page
from vmkeep_airflow.web.access import Viewer
from vmkeep_airflow.web.dayswindows import find_windows
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router

pages = page_router()
answers = answer_router()

_Day = Annotated[date | None, Query(description="A day of UTC, as 2026-11-27; without it, today")]


_GROUPS: Final[dict[str, BackupGroup]] = {each.value: each for each in BackupGroup}


def _listed(
    dag: Annotated[str, Query(max_length=LONGEST, description="The DAG of the window whose backups are listed")] = "",
    run: Annotated[str, Query(max_length=LONGEST, description="The run of that window")] = "",
    group: Annotated[BackupGroup | str, Query(description="The backups to list; empty: all")] = "",
    first: Annotated[int, Query(ge=0, le=1_000_000, description="Backups of the group that are left out first")] = 0,
) -> ListedBackups:
    return ListedBackups(dag_id=dag, run_id=run, group=_GROUPS.get(group, BackupGroup.ALL), first=first)


_Listed = Annotated[ListedBackups, Depends(_listed)]


def _load(user: Any, day: date | None, listed: ListedBackups) -> WindowsPage:
    at = now()
    today = at.astimezone(UTC).date()
    # Later days would only repeat the policies, and the calendar ends.
    chosen = max(date(2000, 1, 1), min(day or today, today + timedelta(days=1)))
    seen, planned, problems = find_windows(user, chosen)
    if day not in (None, chosen):
        problems = [f"windows are known up to tomorrow, and not of {day}: this is {chosen}", *problems]
    return windows_page(seen, planned, chosen, now=at, problems=problems, listed=listed)


@pages.get("/windows")
def show_windows(user: Viewer, listed: _Listed, day: _Day = None) -> HTMLResponse:
    """Show the windows of one day."""
    return html("windows.html", user, page=_load(user, day, listed))


@answers.get("/windows", response_model=WindowsPage, summary="The windows of one day, and what ran in them")
def tell_windows(user: Viewer, listed: _Listed, day: _Day = None) -> Response:
    """Return the page of the windows as data. Times are in UTC; bars are in minutes of the day."""
    return data(_load(user, day, listed))
