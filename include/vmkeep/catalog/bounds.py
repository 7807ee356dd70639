"""Compares each VM's newest point with the points before it, by bounds that a few odd points do not move.

The centre is the median, and the spread is the median of the distances from it (MAD). So a burst, a restore or a first
full among the earlier points changes neither much, unlike a mean and a standard deviation. Both are found by window
functions, which SQLite and PostgreSQL have alike.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Float, Integer, Select, and_, cast, func, insert, literal, select
from sqlalchemy.sql.dml import Insert

from vmkeep.catalog.evidence import BadPointEvidence, BoundEvidence, PointEvidence
from vmkeep.catalog.schema import PointRow
from vmkeep.catalog.statements import is_of_vm
from vmkeep.model.point import BackupKind

HISTORY: Final = 30
"""Earlier points of a VM with which its newest one is compared."""
FEWEST: Final = 8
"""Earlier points without which there is no comparison, because a new VM has no rhythm yet."""
_WORTH_MEASURING: Final = 64 << 20
"""Bytes read below which shares and rates say more about the moment than about the VM."""


class Measure(StrEnum):
    """A number of a point that is compared with the same number of the points before it."""

    CHANGE_RATE = "change-rate"
    """The share of the disks that an incremental backup read."""
    STORED_SHARE = "stored-share"
    """The share of the bytes read that had to be stored, because no earlier block and no compression saved them."""
    DURATION = "duration"
    """Seconds of the longest copy of a disk."""
    THROUGHPUT = "throughput"
    """Bytes read in a second of copying."""


_P = PointEvidence
_VALUES: Final[dict[Measure, tuple[ColumnElement[Any], ColumnElement[bool]]]] = {
    Measure.CHANGE_RATE: (
        cast(_P.bytes_read, Float) / cast(_P.capacity, Float),
        and_(_P.kind == BackupKind.INCREMENTAL.value, _P.capacity > 0),
    ),
    Measure.STORED_SHARE: (
        cast(_P.bytes_stored, Float) / cast(_P.bytes_read, Float),
        _P.bytes_read >= _WORTH_MEASURING,
    ),
    Measure.DURATION: (cast(_P.longest, Float), _P.longest.is_not(None)),
    Measure.THROUGHPUT: (
        cast(_P.bytes_read, Float) / cast(_P.seconds, Float),
        and_(_P.seconds > 0, _P.bytes_read >= _WORTH_MEASURING),
    ),
}
"""The value of each measure, and the condition under which a point has it."""


def newest_points(check_id: str, repository: str, now: int) -> Insert:
    """Return the statement that enters the newest good points of every VM. One from the future proves nothing."""
    bad = select(BadPointEvidence.ref).where(BadPointEvidence.check_id == check_id)
    rank = func.row_number().over(
        partition_by=PointRow.vm_key, order_by=(PointRow.at.desc(), PointRow.ref.desc())
    )  # fmt: skip
    columns = ("vm_key", "ref", "at", "policy", "kind", "capacity", "bytes_read", "bytes_stored", "longest", "seconds")
    ranked = (
        select(*(getattr(PointRow, name) for name in columns), PointRow.vm_name, rank.label("age_rank"))
        .where(PointRow.repository == repository, PointRow.at <= now)
        .where(is_of_vm(PointRow.vm_key), PointRow.ref.not_in(bad))
        .subquery()
    )
    chosen = select(
        literal(check_id),
        literal(repository),
        ranked.c.age_rank,
        ranked.c.vm_name,
        *(ranked.c[each] for each in columns),
    ).where(ranked.c.age_rank <= HISTORY + 1)
    return insert(PointEvidence).from_select(("check_id", "repository", "age_rank", "name", *columns), chosen)


def bounds_of(check_id: str, measure: Measure) -> Insert:
    """Return the statement that enters the bounds of one measure, of each VM whose points tell enough of it."""
    value, has_it = _VALUES[measure]
    told = select(_P.vm_key, _P.kind, _P.age_rank, value.label("value")).where(_P.check_id == check_id, has_it)
    newest = _newest(check_id, value, has_it)
    series = told.subquery()
    earlier = (
        select(series.c.vm_key, series.c.value)
        .join(newest, (newest.c.vm_key == series.c.vm_key) & (newest.c.kind == series.c.kind))
        .where(series.c.age_rank > 1)
        .cte(f"earlier_{measure.name.lower()}")
    )
    centre = _median(earlier, "centre")
    distances = (
        select(earlier.c.vm_key, func.abs(earlier.c.value - centre.c.median).label("value"))
        .join(centre, centre.c.vm_key == earlier.c.vm_key)
        .cte("distances")
    )
    spread = _median(distances, "spread")
    found = (
        select(
            literal(check_id), literal(measure.value), newest.c.vm_key, newest.c.ref, newest.c.name, newest.c.policy,
            newest.c.bytes_read, newest.c.value, centre.c.median, spread.c.median, centre.c.points,
        )
        .join(centre, centre.c.vm_key == newest.c.vm_key)
        .join(spread, spread.c.vm_key == newest.c.vm_key)
        .where(centre.c.points >= FEWEST)
    )  # fmt: skip
    columns = ("check_id", "measure", "vm_key", "ref", "name", "policy", "bytes_read", "value", "median", "spread")
    return insert(BoundEvidence).from_select((*columns, "points"), found)


def _newest(check_id: str, value: ColumnElement[Any], has_it: ColumnElement[bool]) -> CTE:
    columns = (_P.vm_key, _P.kind, _P.ref, _P.name, _P.policy, _P.bytes_read)
    return (
        select(*columns, value.label("value"))
        .where(_P.check_id == check_id, _P.age_rank == 1, has_it)
        .cte("newest")
    )  # fmt: skip


def _median(values: CTE, name: str) -> CTE:
    """Return the median of each VM's values, and their number: the mean of the two in the middle, or of one twice."""
    place = func.row_number().over(partition_by=values.c.vm_key, order_by=values.c.value)
    number = func.count().over(partition_by=values.c.vm_key)
    placed: Select[Any] = select(
        values.c.vm_key, values.c.value, cast(place, Integer).label("place"), cast(number, Integer).label("number")
    )
    each = placed.subquery()
    middle = each.c.place.in_(((each.c.number + 1) // 2, (each.c.number + 2) // 2))
    return (
        select(each.c.vm_key, func.avg(each.c.value).label("median"), func.max(each.c.number).label("points"))
        .where(middle)
        .group_by(each.c.vm_key)
        .cte(name)
    )
