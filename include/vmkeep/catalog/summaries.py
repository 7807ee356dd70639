"""Sums up the points of each VM: the newest good one, their number and their bytes.

The sums of a VM (``sums``) serve if they fit its newest point, which an index of points tells. They may lag behind an
older program that writes into the same database, and a VM must not be called safe by a point that is gone. For VMs with
a point that is not good or is of the future, the newest good one is looked for. The points of VMs without fitting sums
are grouped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, select, text, union
from sqlalchemy.orm import Session, aliased

from vmkeep.catalog.overview_tables import NotedMarkRow, NotedProofRow
from vmkeep.catalog.overview_values import BadPoint, VmSummary
from vmkeep.catalog.schema import INDEXES_TIMES, PointRow, SummedRepositoryRow, SummedVmRow
from vmkeep.catalog.statements import AT_ONCE, is_of_vm, parted
from vmkeep.lateclass import dataclass

_LAST: Final = 4
"""Points for each VM that are looked at, the last of a repository first, to find the newest of most VMs."""
_BAD_BY: Final[tuple[tuple[Any, ColumnElement[bool]], ...]] = (
    (NotedMarkRow, NotedMarkRow.kind.in_(("damaged", "suspect"))),
    (NotedProofRow, NotedProofRow.result == "failed"),
)
"""The tables that tell that a point is not good, each with the condition of its rows that do."""


@dataclass(slots=True)
class _Bad:
    """The points of one VM in one repository that are not good."""

    refs: set[str] = field(default_factory=set)
    newest: BadPoint | None = None
    """``None``: they all are of the future."""


def summaries_of_vm(session: Session, now: datetime, vm_key: str) -> list[VmSummary]:
    """Return the points of one VM in numbers, for each repository that has some."""
    of_vm = PointRow.vm_key == vm_key
    bad = _found_bad(session, now, of_vm)
    return [_summary(row, bad) for row in _grouped(session, now, of_vm)]


def summaries_of_all(session: Session, now: datetime, repositories: Iterable[str]) -> list[VmSummary]:
    """Return the points of each VM in numbers.

    :param repositories: those that have points.
    """
    bad = _found_bad(session, now, is_of_vm(PointRow.vm_key))
    whole = session.scalars(select(SummedRepositoryRow.repository).where(SummedRepositoryRow.whole.is_(True))).all()
    found: list[VmSummary] = []
    unfit: defaultdict[str, list[str]] = defaultdict(list)
    not_good: defaultdict[str, list[str]] = defaultdict(list)
    for row, newest in (each for repository in whole for each in _sums(session, repository)):
        if row.at != newest:
            unfit[row.repository].append(row.vm_key)
        elif (row.repository, row.vm_key) in bad or row.at > int(now.timestamp()):
            not_good[row.repository].append(row.vm_key)
        else:
            found.append(_of_sums(row))
    for repository, vm_keys in not_good.items():
        told = {row.vm_key: row for some in parted(vm_keys) for row in session.execute(_goods(repository, some, now))}
        found.extend(_summary(row, bad) for row in told.values())
        unfit[repository] += [vm_key for vm_key in vm_keys if vm_key not in told]
    for repository in repositories:
        if repository not in whole or len(unfit[repository]) > AT_ONCE:
            found = [each for each in found if each.repository != repository]
            of_vms = is_of_vm(PointRow.vm_key)
        else:
            of_vms = PointRow.vm_key.in_(unfit[repository])
        if repository not in whole or unfit[repository]:
            rows = _grouped(session, now, PointRow.repository == repository, of_vms)
            found.extend(_summary(row, bad) for row in rows)
    return found


def _sums(session: Session, repository: str) -> Iterator[tuple[Any, int | None]]:
    """Yield the sums of all VMs of a repository, each with the time of the VM's newest point; ``None``: it has none."""
    row, point = SummedVmRow, PointRow
    of_vms = (row.repository == repository, is_of_vm(row.vm_key))
    sums = session.execute(select(*row.__table__.c).where(*of_vms)).all()
    newest, since = last_points(session, repository, len(sums))
    alone = [each.vm_key for each in sums if each.vm_key not in newest and since is not None and each.at <= since]
    for some in parted(alone):
        at = select(func.max(point.at)).where(point.repository == repository, point.vm_key == row.vm_key)
        asked = select(row.vm_key, at.scalar_subquery().label("at")).where(*of_vms, row.vm_key.in_(some))
        newest |= {each.vm_key: each.at for each in session.execute(asked)}
    yield from ((each, newest.get(each.vm_key)) for each in sums)


def last_points(session: Session, repository: str, vms: int) -> tuple[dict[str, int], float | None]:
    """Return the times of the newest points of most VMs, which are among the last that were taken at all.

    They are one range of an index. To ask for a VM by itself costs three blocks.

    :returns: the times, and the end of the range: a VM without a time has no newer point; ``None``: no point at all.
    """
    if session.get_bind().dialect.name != INDEXES_TIMES:
        return {}, math.inf
    point, most = PointRow, max(1, _LAST * vms)
    by_time = select(point.vm_key, point.at).where(point.repository == repository).order_by(point.at.desc())
    since = session.scalar(by_time.with_only_columns(point.at).offset(most - 1).limit(1))
    last = by_time.limit(most).subquery()
    newest = select(last.c.vm_key, func.max(last.c.at).label("at")).group_by(last.c.vm_key)
    return {each.vm_key: each.at for each in session.execute(newest)}, since


def _goods(repository: str, vm_keys: Collection[str], now: datetime) -> Any:
    """Return the sums of VMs whose newest point may not be good, each with its newest good point.

    That point is looked for from the end of a range of an index, so that no other point of the VM is read.
    """
    row, point, told = SummedVmRow, aliased(PointRow), aliased(PointRow)
    newest_good = (
        select(point.ref)
        .where(point.repository == row.repository, point.vm_key == row.vm_key, point.at <= int(now.timestamp()))
        .where(*(~_exists(table, condition, point) for table, condition in _BAD_BY))
        .order_by(point.at.desc(), point.ref.desc())
        .limit(1)
        .scalar_subquery()
    )
    sums = (
        select(row, newest_good.label("good_ref"))
        .where(row.repository == repository, row.vm_key.in_(vm_keys))
        .subquery()
    )
    is_told = (told.repository == sums.c.repository) & (told.ref == func.coalesce(sums.c.good_ref, sums.c.ref))
    return select(
        sums.c.repository, sums.c.vm_key, sums.c.points, sums.c.bytes_stored.label("stored"),
        case((sums.c.good_ref.is_not(None), told.at)).label("good"), told.ref, told.vm_name, told.policy, told.capacity,
    ).join(told, is_told)  # fmt: skip


def _exists(table: Any, condition: ColumnElement[bool], point: Any) -> ColumnElement[bool]:
    """Return the condition that a table tells something bad of a point."""
    of_point = (table.repository == point.repository) & (table.ref == point.ref)
    return select(table.ref).where(of_point, condition).correlate(point).exists()


def _grouped(session: Session, now: datetime, *of_vms: ColumnElement[bool]) -> Collection[Any]:
    """Return the numbers of VMs from their points, which are read twice: to group them, and to find the newest."""
    _alone(session)
    point, is_bad = PointRow, _bad_points()
    good = case((and_(is_bad.c.ref.is_(None), point.at <= int(now.timestamp())), point.at))
    numbers = (
        select(
            point.repository, point.vm_key, func.count().label("points"), func.max(good).label("good"),
            func.max(point.at).label("newest"), func.sum(point.bytes_stored).label("stored"),
        )
        .outerjoin(is_bad, (is_bad.c.repository == point.repository) & (is_bad.c.ref == point.ref))
        .where(*of_vms)
        .group_by(point.repository, point.vm_key)
        .subquery()
    )  # fmt: skip
    query = (
        select(numbers, point.ref, point.vm_name, point.policy, point.capacity)
        .join(
            point,
            (point.repository == numbers.c.repository)
            & (point.vm_key == numbers.c.vm_key)
            & (point.at == func.coalesce(numbers.c.good, numbers.c.newest)),
        )
        .order_by(point.ref)
    )
    return {(row.repository, row.vm_key): row for row in session.execute(query)}.values()  # one of two of one second


def _alone(session: Session) -> None:
    """Let PostgreSQL answer the questions of a session in one process.

    It would let each helper group all points for itself, so that a click costs as much CPU again for each of them.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))


def _bad_points() -> Any:
    """Return the points that are damaged or suspect, or have failed a check, each once."""
    return union(*(select(table.repository, table.ref).where(condition) for table, condition in _BAD_BY)).subquery()


def _found_bad(session: Session, now: datetime, *of_vms: ColumnElement[bool]) -> dict[tuple[str, str], _Bad]:
    """Return the VMs with points that are not good, which are few, by repository and key."""
    point, found = PointRow, defaultdict[tuple[str, str], _Bad](_Bad)
    parts = (
        select(point.repository, point.vm_key, point.ref, point.at, table.kind)
        .join(table, (table.repository == point.repository) & (table.ref == point.ref))
        .where(condition, *of_vms)
        for table, condition in _BAD_BY
    )
    bad = union(*parts).subquery()
    for row in session.execute(select(bad).order_by(bad.c.at, bad.c.ref, bad.c.kind)):
        known, at = found[row.repository, row.vm_key], _time(row.at)
        known.refs.add(row.ref)
        if at <= now:
            newest = known.newest
            faults = newest.faults if newest is not None and newest.ref == row.ref else ()
            known.newest = BadPoint(ref=row.ref, at=at, faults=(*faults, row.kind))
    return found


def _summary(row: Any, bad: Mapping[tuple[str, str], _Bad]) -> VmSummary:
    is_good = row.good is not None
    return _told(row, stored=int(row.stored or 0), ref=row.ref if is_good else None,
                 newest=_time(row.good) if is_good else None,
                 known=bad.get((row.repository, row.vm_key), _Bad()))  # fmt: skip


def _of_sums(row: Any) -> VmSummary:
    """Return the summary of a VM all of whose points are good."""
    return _told(row, stored=row.bytes_stored, ref=row.ref, newest=_time(row.at), known=_Bad())


def _told(row: Any, *, stored: int, ref: str | None, newest: datetime | None, known: _Bad) -> VmSummary:
    return VmSummary(
        repository=row.repository,
        vm_key=row.vm_key,
        vm_name=row.vm_name,
        policy=row.policy,
        points=row.points,
        capacity=row.capacity,
        bytes_stored=stored,
        ref=ref,
        newest=newest,
        bad=len(known.refs),
        newest_bad=known.newest,
        told_by=row.ref,
    )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
