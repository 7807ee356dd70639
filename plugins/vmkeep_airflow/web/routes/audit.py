"""The page that tells who did what: as a page, as data, and as a sheet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from fastapi.responses import HTMLResponse, Response

from vmkeep.clock import now
from vmkeep.web import (
    AUDIT_DAYS,
    AUDIT_ROWS,
    SHEET_ROWS,
    AuditKind,
    AuditPage,
    AuditQuery,
    audit_page,
    audit_sheet,
)
from vmkeep_airflow.web.access import Auditor
from vmkeep_airflow.web.auditlog import find_entries
from vmkeep_airflow.web.frame import answer_router, data, html, page_router

pages = page_router()
answers = answer_router()

_SPANS: Final = (1, 7, 30, 90, 365)
_KINDS: Final[dict[str, AuditKind]] = {each.value: each for each in AuditKind}
_FIRST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""The calendar ends, and days are counted from these."""


def _choice(
    person: Annotated[str, Query(max_length=200, description="A part of the person's name or id")] = "",
    about: Annotated[str, Query(max_length=200, description="A part of a VM's name, a point, a run or a file")] = "",
    kind: Annotated[AuditKind | str, Query(description="Only entries of this kind; empty: any")] = "",
    days: Annotated[int, Query(ge=1, le=3650, description="Days before 'until'")] = AUDIT_DAYS,
    by_itself: Annotated[bool, Query(description="Also runs that no person started")] = False,
    until: Annotated[datetime | None, Query(description="Only earlier entries; without it, up to now")] = None,
) -> AuditQuery:
    if until is not None:
        until = max(_FIRST, min(until if until.tzinfo else until.replace(tzinfo=UTC), _LAST))
    return AuditQuery(
        person=person.strip(), about=about.strip(), kind=_KINDS.get(kind), days=days, by_itself=by_itself, until=until
    )


Choice = Annotated[AuditQuery, Depends(_choice)]


def _load(user: Any, choice: AuditQuery, most: int) -> AuditPage:
    at = now()
    found = find_entries(user, choice, now=at, most=most)
    return audit_page(found.entries, choice, now=at, older_until=found.older_until)


@pages.get("/audit")
def show_audit(user: Auditor, choice: Choice) -> HTMLResponse:
    """Show who did what."""
    spans = sorted({*_SPANS, choice.days})
    return html("audit.html", user, page=_load(user, choice, AUDIT_ROWS), kinds=list(AuditKind), spans=spans)


@answers.get("/audit", response_model=AuditPage, summary="Who did what, the newest first")
def tell_audit(user: Auditor, choice: Choice) -> Response:
    """Return a page of the audit as data. Times are in UTC."""
    return data(_load(user, choice, AUDIT_ROWS))


@pages.get("/audit.csv")
def give_audit(user: Auditor, choice: Choice) -> Response:
    """Give the entries as CSV."""
    head = {"Content-Disposition": 'attachment; filename="vmkeep-audit.csv"'}
    return Response(audit_sheet(_load(user, choice, SHEET_ROWS)), media_type="text/csv; charset=utf-8", headers=head)
