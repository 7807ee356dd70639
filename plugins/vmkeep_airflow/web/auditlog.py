"""Reads from Airflow's database who did what: the runs that people started, and the changes that Airflow's log notes.

A run tells who started it (``triggering_user_name``). Airflow's log has a row for each call of its API that changes
something, with the user, and vmkeep writes rows of its own there (:func:`note`). Both are read by time, a page at once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models import DagRun
from airflow.models.dag import DagTag
from airflow.models.dagrun import DagRunNote
from airflow.models.log import Log
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session, selectinload

from vmkeep.web import (
    DAGS,
    GONE,
    START,
    AuditEntry,
    AuditKind,
    AuditQuery,
    begin_of,
    events_of,
    kind_of_event,
    kind_of_run,
)
from vmkeep_airflow.web.access import may_with_runs
from vmkeep_airflow.web.auditrows import SEVERAL, Numbered, details_of, is_ours
from vmkeep_airflow.web.runnames import about_of, names_of

_TAG: Final = "vmkeep"
_TICK: Final = timedelta(microseconds=1)
_NEAR: Final = timedelta(minutes=1)
"""Time between a call that asks for a run and the run."""
_OF_RUNS: Final = frozenset({*DAGS, AuditKind.CHECK})
"""Kinds of entries that are those of runs."""
_CAUSES: Final = {
    DagRunTriggeredByType.TIMETABLE: "a schedule",
    DagRunTriggeredByType.ASSET: "an event",
    DagRunTriggeredByType.OPERATOR: "another run",
    DagRunTriggeredByType.BACKFILL: "a backfill",
    DagRunTriggeredByType.CLI: "the command airflow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFound:
    """Entries that were read, the newest first."""

    entries: tuple[AuditEntry, ...]
    older_until: datetime | None
    """The time before which there are more; ``None``: there are none in the days that were asked for."""


def note(user: Any, event: str, *, dag_id: str | None = None, run_id: str | None = None, **what: object) -> None:
    """Write into Airflow's audit log that a user has done something that Airflow itself does not note."""
    noted = {name: str(value) for name, value in what.items() if value is not None}
    extra = json.dumps(noted, ensure_ascii=False)
    with create_session() as session:
        row = Log(event=event, owner=user.get_id(), owner_display_name=user.get_name(), extra=extra)
        row.dag_id, row.run_id = dag_id, run_id
        session.add(row)


def find_entries(user: Any, query: AuditQuery, *, now: datetime, most: int) -> AuditFound:
    """Return the entries that a query asks for, about the DAGs that a user may see.

    :param most: entries that are returned.
    """
    since, until = begin_of(query, now), query.until
    with create_session() as session:
        tagged = session.scalars(select(DagTag.dag_id).where(DagTag.name == _TAG)).all()
        seen = tuple(dag_id for dag_id in tagged if _may_read(user, dag_id))
        parts = [read(session, seen, query, since, until, most + 1) for read in (_runs, _changes)]
    return _merged(parts, most)


def _may_read(user: Any, dag_id: str) -> bool:
    """Return whether a user may see the runs of a DAG, and Airflow's own log about it."""
    details = DagDetails(id=dag_id)
    log = get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.AUDIT_LOG, details=details, user=user
    )
    return log and may_with_runs(user, "GET", dag_id)


_Part = tuple[list[AuditEntry], datetime | None]
"""Entries, and the time down to which they are complete, if more were there than were read."""


def _merged(parts: Sequence[_Part], most: int) -> AuditFound:
    """Return the entries of all sources by time, down to the time to which each source is known."""
    entries = sorted((each for found, _ in parts for each in found), key=lambda one: one.at, reverse=True)
    ends = [end for _, end in parts if end is not None]
    if len(entries) > most:
        ends.append(entries[most].at)
    if not ends:
        return AuditFound(entries=tuple(entries), older_until=None)
    end = max(ends)
    whole = tuple(each for each in entries if each.at > end)
    if whole:
        return AuditFound(entries=whole, older_until=end + _TICK)
    # More entries than a page has are of the same microsecond: some are shown, so that the pages go on.
    return AuditFound(entries=tuple(each for each in entries if each.at == end)[:most], older_until=end)


def _runs(
    session: Session, seen: Sequence[str], query: AuditQuery, since: datetime, until: datetime | None, most: int
) -> _Part:
    """Return the runs that somebody or something has started."""
    dag_ids = [each for each in seen if query.kind in (None, kind_of_run(each))]
    if not dag_ids:
        return [], None
    wanted = select(DagRun).where(DagRun.dag_id.in_(dag_ids), DagRun.run_after >= since)
    if until is not None:
        wanted = wanted.where(DagRun.run_after < until)
    if not query.by_itself:
        # A run that another run has started takes over the name of the person who started that one.
        by_hand = or_(DagRun.triggered_by.is_(None), DagRun.triggered_by != DagRunTriggeredByType.OPERATOR)
        wanted = wanted.where(DagRun.triggering_user_name.is_not(None), by_hand)
    if query.person:
        wanted = wanted.where(_holds(DagRun.triggering_user_name, query.person))
    if query.about:
        wanted = wanted.outerjoin(DagRunNote, DagRunNote.dag_run_id == DagRun.id).where(_is_about(query.about))
    order = (DagRun.run_after.desc(), DagRun.id.desc())
    runs = session.scalars(wanted.order_by(*order).limit(most).options(selectinload(DagRun.dag_run_note))).all()
    names = names_of(session, runs)
    entries = [
        AuditEntry(
            at=run.run_after,
            person=run.triggering_user_name or "",
            cause=_cause(run),
            dag_id=run.dag_id,
            run_id=run.run_id,
            about=names.get(run.id) or about_of(run),
            state=str(run.state),
            details=run.conf if isinstance(run.conf, Mapping) else {},
        )
        for run in runs
    ]
    return entries, entries[-1].at if len(runs) == most else None


def _cause(run: DagRun) -> str:
    """Return the thing that started a run, in words; empty: a person did, by a page or the API."""
    if run.triggered_by in _CAUSES:
        return _CAUSES[run.triggered_by]
    return "" if run.triggering_user_name else "a call of the API"


def _changes(
    session: Session, seen: Sequence[str], query: AuditQuery, since: datetime, until: datetime | None, most: int
) -> _Part:
    """Return the rows of Airflow's log about our DAGs, connections and files."""
    events = (START,) if query.kind in _OF_RUNS else events_of(query.kind)
    run = and_(DagRun.dag_id == Log.dag_id, DagRun.run_id == Log.run_id)
    wanted = (
        select(Log, DagRun)
        .outerjoin(DagRun, run)
        .where(Log.event.in_(events), Log.dttm >= since)
        .where(or_(Log.dag_id.in_(seen), Log.dag_id.is_(None), Log.dag_id == SEVERAL))
    )
    if until is not None:
        wanted = wanted.where(Log.dttm < until)
    if query.person:
        wanted = wanted.where(or_(_holds(Log.owner, query.person), _holds(Log.owner_display_name, query.person)))
    if query.about:
        of_run = _is_about(query.about)
        wanted = wanted.outerjoin(DagRunNote, DagRunNote.dag_run_id == DagRun.id)
        wanted = wanted.where(or_(of_run, _holds_as_json(Log.extra, query.about), _holds(Log.run_id, query.about)))
    order = (Log.dttm.desc(), Log.id.desc())
    rows = session.execute(wanted.order_by(*order).limit(most).options(selectinload(DagRun.dag_run_note))).all()
    names = names_of(session, [run for _, run in rows if run is not None])
    known = Numbered.among(session, [log for log, _ in rows])
    entries = [*_entries(rows, names, frozenset(seen), known), *_starts(session, rows, frozenset(seen))]
    entries = [each for each in entries if query.kind in (None, kind_of_event(each.event, each.dag_id))]
    return entries, rows[-1][0].dttm if len(rows) == most else None


def _starts(session: Session, rows: Sequence[Any], seen: frozenset[str]) -> Iterator[AuditEntry]:
    """Yield the calls that asked for a run which Airflow does not have: whoever deletes a run hides no start of it.

    A call seldom names the run that it makes. So each run of a person belongs to the call of that person next to it in
    time.
    """
    asked = [log for log, run in rows if log.event == START and log.dag_id in seen and run is None]
    asked = [log for log in asked if details_of(log.extra).get("run_after") is None]
    made = _made_by(session, [log for log in asked if not log.run_id])
    for log in asked:
        if log.id in made:
            continue
        details = details_of(log.extra)
        conf = details.get("conf")
        conf = conf if isinstance(conf, Mapping) else {}
        yield AuditEntry(
            at=log.dttm,
            person=log.owner_display_name or log.owner or "",
            event=GONE,
            dag_id=log.dag_id,
            run_id=log.run_id or "",
            about=", ".join(str(conf[name]) for name in ("vm", "point", "new_name") if conf.get(name)),
            details=conf,
        )


def _made_by(session: Session, calls: Sequence[Any]) -> set[int]:
    """Return the ids of those calls that have made a run which is there. Runs that other calls name are not theirs."""
    if not calls:
        return set()
    first, last = min(log.dttm for log in calls), max(log.dttm for log in calls)
    is_named = exists().where(Log.event == START, Log.dag_id == DagRun.dag_id, Log.run_id == DagRun.run_id)
    query = select(DagRun.id, DagRun.dag_id, DagRun.run_after, DagRun.triggering_user_name).where(
        DagRun.dag_id.in_({log.dag_id for log in calls}),
        DagRun.run_after.between(first - _NEAR, last + _NEAR),
        or_(DagRun.triggered_by.is_(None), DagRun.triggered_by.not_in(_CAUSES)),
        ~is_named,
    )
    runs: defaultdict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for number, dag_id, at, person in session.execute(query):
        runs[dag_id, str(person)].append((at, number))
    near = sorted(
        (abs(at - log.dttm), log.id, number)
        for log in calls
        for at, number in runs.get((log.dag_id, str(log.owner)), ())
        if abs(at - log.dttm) <= _NEAR
    )
    found: set[int] = set()
    taken: set[int] = set()
    for _, call, number in near:  # the nearest first, so that no call takes the run of another one
        if call not in found and number not in taken:
            found.add(call)
            taken.add(number)
    return found


def _entries(
    rows: Iterable[Any], names: Mapping[int, str], seen: frozenset[str], known: Numbered
) -> Iterator[AuditEntry]:
    for log, run in rows:
        details = details_of(log.extra)
        if not is_ours(log, details, seen, known) or (log.event == START and details.get("run_after") is None):
            continue
        yield AuditEntry(
            at=log.dttm,
            person=log.owner_display_name or log.owner or "",
            event=log.event,
            dag_id=known.dag_of(log, details),
            run_id=log.run_id or "",
            task=log.task_id or "",
            about=(names.get(run.id) or about_of(run)) if run is not None else "",
            state=str(run.state) if run is not None else "",
            details=details | {"asset": known.asset_of(details)},
        )


def _is_about(text: str) -> ColumnElement[bool]:
    """Return the condition on a run that it is about something: its note, its fields, or its id."""
    conf = cast(DagRun.conf, Text)
    return or_(_holds(DagRunNote.content, text), _holds_as_json(conf, text), _holds(DagRun.run_id, text))


def _holds(column: Any, text: str) -> ColumnElement[bool]:
    """Return the condition that a column has a text in it, whatever its case. SQLite knows the case of ASCII alone."""
    found: ColumnElement[bool] = func.lower(column).contains(text.lower(), autoescape=True)
    return found if text.isascii() else or_(found, column.contains(text, autoescape=True))


def _holds_as_json(column: Any, text: str) -> ColumnElement[bool]:
    """Return the condition that a column of JSON has a text in it, as it is or as JSON writes it.

    JSON escapes quotes, and letters beyond ASCII may be escaped.
    """
    written = {text, *(json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (False, True))}
    return or_(*(_holds(column, each) for each in sorted(written)))
