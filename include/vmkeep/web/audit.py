"""The page that tells who did what, and when: runs that people started, answers, changes of runs and settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from vmkeep.flows.reports import Kind, Table, csv_sheet
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.web.audit_words import GONE, RUN, AuditKind, kind_of_event, only_planned, told
from vmkeep.web.words import Moment, moment, plain

AUDIT_ROWS: Final = 100
"""Rows of a page."""
SHEET_ROWS: Final = 10_000
"""Rows of a CSV file."""
AUDIT_DAYS: Final = 7
"""Days that are shown if nobody asks for more."""
_TONES: Final = {"success": "good", "failed": "bad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """The choice of entries that a person made."""

    person: str = ""
    """A part of the person's name or id, whatever its case."""
    about: str = ""
    """A part of the VM's name, the point, the run or the file, whatever its case."""
    kind: AuditKind | None = None
    days: int = AUDIT_DAYS
    """Days before ``until``."""
    by_itself: bool = False
    """Also runs that a schedule, an event or another run has started."""
    until: datetime | None = None
    """Only earlier entries; ``None``: up to now."""

    def link(self, **changes: Any) -> str:
        """Return the part of the page's address that makes this choice, with changes."""
        wanted = replace(self, **changes)
        fields = {
            "person": wanted.person,
            "about": wanted.about,
            "kind": wanted.kind.value if wanted.kind else "",
            "days": str(wanted.days) if wanted.days != AUDIT_DAYS else "",
            "by_itself": "true" if wanted.by_itself else "",
            "until": wanted.until.isoformat() if wanted.until else "",
        }
        chosen = {name: value for name, value in fields.items() if value}
        return f"?{urlencode(chosen)}" if chosen else "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A thing that was done, as Airflow has it."""

    at: datetime
    person: str
    """Empty: nobody who is known by name."""
    cause: str = ""
    """The thing that started a run, in words, if no person did it at once; else empty."""
    event: str = RUN
    dag_id: str = ""
    run_id: str = ""
    task: str = ""
    about: str = ""
    state: str = ""
    """That of the run now; empty: there is no run, or Airflow does not have it any more."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The conf of a run, or the values that Airflow has noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An entry as the page shows it."""

    at: Moment
    person: str
    cause: str
    kind: AuditKind
    label: str
    done: str
    """The thing that was done, as a sentence without its subject."""
    about: str
    dag_id: str
    run_id: str
    state: str
    tone: str
    """Class of the state in the style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Everything on the page."""

    query: AuditQuery
    since: Moment
    begins: datetime
    """The beginning of the days that are shown."""
    rows: tuple[AuditRow, ...]
    """The newest first."""
    older_until: datetime | None
    """The time before which the next page goes on; ``None``: there are no more entries in these days."""

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        more = ", and there are more" if self.older_until else ""
        return f"{counted(len(self.rows), 'entry', 'entries')} since {self.since.shown}{more}."

    @property
    def older(self) -> str:
        """The link to the entries before these: the rest of these days, or the days before."""
        return self.query.link(until=self.older_until or self.begins)


def begin_of(query: AuditQuery, now: datetime) -> datetime:
    """Return the beginning of the days that a query asks for."""
    return (query.until or now) - timedelta(days=query.days)


def audit_page(
    entries: Sequence[AuditEntry],
    query: AuditQuery,
    *,
    now: datetime,
    older_until: datetime | None,
) -> AuditPage:
    """Return the page.

    :param entries: those that the query asks for, the newest first.
    """
    begins = begin_of(query, now)
    since = moment(begins, now)
    assert since is not None
    return AuditPage(
        query=query,
        since=since,
        begins=begins,
        rows=tuple(_row(each, now) for each in entries),
        older_until=older_until,
    )


def _row(entry: AuditEntry, now: datetime) -> AuditRow:
    at = moment(entry.at, now)
    assert at is not None
    kind = kind_of_event(entry.event, entry.dag_id)
    planned = entry.event in (RUN, GONE) and only_planned(entry.dag_id, entry.details)
    return AuditRow(
        at=at,
        person=plain(entry.person),
        cause=entry.cause,
        kind=kind,
        label=f"{kind.label}, only planned" if planned else kind.label,
        done=told(entry.event, entry.dag_id, entry.task, entry.details),
        about=plain(entry.about),
        dag_id=entry.dag_id,
        run_id=entry.run_id,
        state=entry.state,
        tone=_TONES.get(entry.state, "calm"),
    )


def audit_sheet(page: AuditPage) -> str:
    """Return the page as CSV. A last line tells that there are more entries, and how to ask for them."""
    names = ("time", "person", "cause", "kind", "done", "about", "dag", "run", "state of the run")
    rows = [
        (row.at.iso, row.person, row.cause, row.kind.value, row.done, row.about, row.dag_id, row.run_id, row.state)
        for row in page.rows
    ]
    if page.older_until is not None:
        more = f"there are older entries: ask with until={page.older_until.isoformat()}"
        rows.append(("", "", "", "", more, "", "", "", ""))
    columns = tuple((name, Kind.TEXT) for name in names)
    return csv_sheet(Table(id="audit", title="who did what", columns=columns, rows=tuple(rows)))
