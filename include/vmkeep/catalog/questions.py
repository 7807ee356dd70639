"""The questions of a check of data quality, each as one SELECT of the rows that should not be there.

A question is asked of one table, its *batch*, and may join others. Every answer has the same columns:

``severity``  of the finding, as the VM's policy wants it
``policy``    name of that policy; empty: none is concerned
``vm``        name of the VM
``vm_id``     a word that distinguishes it from every other VM; NULL: the ref has it
``ref``       ref of the restore point, if one is concerned
``disk``      label of the disk, if one is concerned
``detail``    a word or text of the finding
``value``     the number that was found
``bound``     the number with which it was compared

The statements are built from the tables, and written out for one kind of database, because whoever asks the questions
takes text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Dialect, Float, Select, String, and_, cast, func, literal, null, or_, select
from sqlalchemy.orm import aliased

from vmkeep.catalog.bounds import Measure
from vmkeep.catalog.evidence import (
    BoundEvidence,
    DiskSampleEvidence,
    Evidence,
    PointEvidence,
    PolicyEvidence,
    SampleEvidence,
    SeverityEvidence,
    VmEvidence,
)
from vmkeep.catalog.schema import DiskRow, PointRow
from vmkeep.lateclass import dataclass

SNAPSHOTS_WITHIN: Final = 3 * 86400
"""Seconds that a snapshot of a VM may be old if no policy says otherwise."""
_ODD: Final = 6 / 0.6745
"""Spreads from the median that make a value odd: 6 standard deviations of normally distributed values."""
_SLACK: Final = 4 << 20
"""Bytes that a copy may read beyond a disk's end, because it reads whole blocks."""
_ROOT: Final = 64
"""Characters of the digest of a map's root."""
_GIB: Final = 1 << 30
_INCOMPRESSIBLE: Final = 0.8
"""Share of the bytes read that is stored, from which on data counts as new and incompressible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, for one check and one kind of database."""

    expectation: str
    batch: str
    """Name of the table that is asked."""
    query: str
    """The SELECT. ``{batch}`` stands for the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The check that asks."""

    check_id: str
    now: int
    """The time of the check, in seconds since 1970."""


_Builder = Callable[[Any, Asked], Select[Any]]


def write_questions(asked: Asked, severities: Mapping[str, str], dialect: Dialect) -> tuple[Question, ...]:
    """Return all questions.

    :param severities: the severity of each expectation for VMs whose policy says nothing; only these are asked.
    """
    return tuple(_written(name, asked, default, dialect) for name, default in severities.items())


def _written(name: str, asked: Asked, default: str, dialect: Dialect) -> Question:
    table, build = _QUESTIONS[name]
    found = build(aliased(table, name="batch"), asked).subquery("found")
    wish = SeverityEvidence
    joined = (
        (wish.check_id == asked.check_id) & (wish.expectation == name) & (wish.policy == found.c.policy)
    )  # fmt: skip
    severity = func.coalesce(wish.severity, literal(default)).label("severity")
    query = select(severity, *found.c).outerjoin(wish, joined).order_by("severity", found.c.vm, found.c.ref)
    text = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return Question(
        expectation=name,
        batch=table.__tablename__,
        query=text.replace(f"{table.__tablename__} AS batch", "{batch} AS batch"),
    )


def _answer(
    batch: Any, *, ref: Any = None, disk: Any = None, detail: Any = None, value: Any = None, bound: Any = None
) -> Select[Any]:
    """Return a SELECT with the columns of every answer."""

    def text(given: Any, name: str) -> Any:
        return cast(null() if given is None else given, String).label(name)

    def number(given: Any, name: str) -> Any:
        return cast(null() if given is None else given, Float).label(name)

    return select(
        batch.policy.label("policy"), batch.name.label("vm"), text(_id_of(batch), "vm_id"),
        text(ref, "ref"), text(disk, "disk"),
        text(detail, "detail"), number(value, "value"), number(bound, "bound"),
    )  # fmt: skip


def _id_of(batch: Any) -> Any:
    """Return the column that distinguishes the VMs of a table; ``None``: its rows are points."""
    return getattr(batch, "vm", None) or getattr(batch, "vm_key", None)


def _policy_of(batch: Any) -> ColumnElement[bool]:
    return and_(PolicyEvidence.check_id == batch.check_id, PolicyEvidence.name == batch.policy)


def _late(moment: Any, within: Any, asked: Asked) -> ColumnElement[bool]:
    return or_(moment.is_(None), moment < asked.now - within)


def _rpo(batch: Any, asked: Asked) -> Select[Any]:
    policy = PolicyEvidence
    return (
        _answer(batch, ref=batch.ref, value=asked.now - batch.newest, bound=policy.max_age)
        .join(policy, _policy_of(batch))
        .where(batch.check_id == asked.check_id, batch.obstacle.is_(None), policy.max_age.is_not(None))
        .where(_late(batch.newest, policy.max_age, asked))
    )


def _unprotected(batch: Any, asked: Asked) -> Select[Any]:
    return _answer(batch, ref=batch.ref, value=asked.now - batch.newest).where(
        batch.check_id == asked.check_id, batch.asked.is_(True), batch.obstacle.is_(None), batch.policy == ""
    )


def _snapshot_age(batch: Any, asked: Asked) -> Select[Any]:
    within = func.coalesce(PolicyEvidence.snapshots_within, SNAPSHOTS_WITHIN)
    return (
        _answer(batch, detail=batch.snapshot_name, value=asked.now - batch.snapshot, bound=within)
        .outerjoin(PolicyEvidence, _policy_of(batch))
        .where(batch.check_id == asked.check_id, batch.snapshot < asked.now - within)
    )


def _proof_age(batch: Any, asked: Asked) -> Select[Any]:
    within = PolicyEvidence.proved_within
    return (
        _answer(batch, ref=batch.ref, value=asked.now - batch.proved, bound=within)
        .join(PolicyEvidence, _policy_of(batch))
        .where(batch.check_id == asked.check_id, within.is_not(None))
        .where(or_(batch.ref.is_not(None), batch.obstacle.is_(None)))
        .where(_late(batch.proved, within, asked))
    )


def _of_newest(batch: Any, asked: Asked, answer: Select[Any]) -> Select[Any]:
    """Join the disks of each VM's newest point."""
    point = PointRow
    return (
        answer.join(point, (point.repository == batch.repository) & (point.ref == batch.ref))
        .join(DiskRow, DiskRow.point == point.number)
        .where(batch.check_id == asked.check_id, batch.age_rank == 1)
    )


def _change_tracking(batch: Any, asked: Asked) -> Select[Any]:
    answer = _answer(batch, ref=batch.ref, disk=DiskRow.label, detail=DiskRow.full_reason)
    return _of_newest(batch, asked, answer).where(
        DiskRow.expects_tracking.is_(True), DiskRow.tracked.is_(False), batch.policy != ""
    )


def _skipped_disk(batch: Any, asked: Asked) -> Select[Any]:
    answer = _answer(batch, ref=batch.ref, disk=DiskRow.label, detail=DiskRow.skipped)
    return (
        _of_newest(batch, asked, answer)
        .join(PolicyEvidence, _policy_of(batch))
        .where(PolicyEvidence.forbids_skipped.is_(True), DiskRow.unasked.is_(True))
    )


def _disk_size(batch: Any, asked: Asked) -> Select[Any]:
    row = DiskRow
    answer = _answer(batch, ref=batch.ref, disk=row.label, value=row.bytes_read, bound=row.capacity)
    return _of_newest(batch, asked, answer).where(
        row.skipped.is_(None),
        or_(
            row.capacity <= 0,
            row.capacity - row.capacity // 512 * 512 != 0,
            row.root.is_(None),
            func.length(row.root) != _ROOT,
            row.bytes_read < 0,
            row.bytes_read > row.capacity + _SLACK,
        ),
    )


def _map_root(batch: Any, asked: Asked) -> Select[Any]:
    point, row = PointRow, DiskRow
    answer = _answer(
        batch, ref=batch.ref, disk=batch.label, detail=batch.problem, value=batch.map_capacity, bound=row.capacity
    )
    is_point = (point.repository == batch.repository) & (point.ref == batch.ref)
    is_disk = (row.point == point.number) & (row.key == batch.key)
    return (
        answer.outerjoin(point, is_point)
        .outerjoin(row, is_disk)
        .where(
            batch.check_id == asked.check_id,
            or_(
                batch.problem.is_not(None),
                row.point.is_(None),
                row.root != batch.root,
                batch.map_capacity != row.capacity,
                batch.map_blocks * batch.block_size < row.capacity,
                (batch.map_blocks - 1) * batch.block_size >= row.capacity,
            ),
        )
    )


def _catalog_row(batch: Any, asked: Asked) -> Select[Any]:
    point = PointRow
    disks = select(func.count()).where(DiskRow.point == point.number).scalar_subquery().correlate(point)
    return (
        _answer(batch, ref=batch.ref, detail=batch.problem)
        .outerjoin(point, (point.repository == batch.repository) & (point.ref == batch.ref))
        .where(
            batch.check_id == asked.check_id,
            or_(
                batch.problem.is_not(None),
                point.ref.is_(None),
                point.vm_name != batch.name,
                point.policy != batch.policy,
                point.at != batch.at,
                point.kind != batch.kind,
                point.capacity != batch.capacity,
                point.bytes_read != batch.bytes_read,
                point.bytes_stored != batch.bytes_stored,
                point.disks != batch.disks,
                disks != batch.disks,
            ),
        )
    )


def _odd(
    measure: Measure, is_odd: Callable[[Any], ColumnElement[bool]]
) -> tuple[type[Evidence], _Builder]:  # fmt: skip
    """Return the question for newest points whose measure is far from that of the points before them."""

    def build(batch: Any, asked: Asked) -> Select[Any]:
        return _answer(batch, ref=batch.ref, value=batch.value, bound=batch.median).where(
            batch.check_id == asked.check_id, batch.measure == measure.value, is_odd(batch)
        )

    return BoundEvidence, build


def _above(batch: Any, *, by: float, times: float) -> ColumnElement[bool]:
    """Return whether a value is above the median by spreads, by an amount, and by times of the median."""
    distance = batch.value - batch.median
    return and_(distance > _ODD * batch.spread, distance > by, distance > (times - 1) * batch.median)


def _below(batch: Any, *, share: float) -> ColumnElement[bool]:
    """Return whether a value is below the median by spreads, and below a share of it."""
    return and_(batch.median - batch.value > _ODD * batch.spread, batch.value < share * batch.median)


def _change_rate(batch: Any) -> ColumnElement[bool]:
    silent = and_(_below(batch, share=0.02), batch.median > 0.01)
    return or_(_above(batch, by=0.05, times=3), silent)


def _sudden_change(batch: Any, asked: Asked) -> Select[Any]:
    share = aliased(BoundEvidence, name="share")
    point = aliased(PointEvidence, name="newest")
    stored = cast(point.bytes_stored, Float) / cast(point.bytes_read, Float)
    return (
        _answer(batch, ref=batch.ref, detail=cast(stored, String), value=batch.value, bound=batch.median)
        .join(
            point, (point.check_id == batch.check_id) & (point.vm_key == batch.vm_key) & (point.age_rank == 1)
        )
        .outerjoin(
            share,
            (share.check_id == batch.check_id)
            & (share.vm_key == batch.vm_key)
            & (share.measure == Measure.STORED_SHARE.value),
        )
        .where(batch.check_id == asked.check_id, batch.measure == Measure.CHANGE_RATE.value)
        .where(_above(batch, by=0, times=4), point.bytes_read >= _GIB, stored >= _INCOMPRESSIBLE)
        .where(or_(share.median.is_(None), stored >= share.median + 0.15))
    )  # fmt: skip


_QUESTIONS: Final[dict[str, tuple[Any, _Builder]]] = {
    "rpo": (VmEvidence, _rpo),
    "unprotected": (VmEvidence, _unprotected),
    "proof-age": (VmEvidence, _proof_age),
    "snapshot-age": (VmEvidence, _snapshot_age),
    "skipped-disk": (PointEvidence, _skipped_disk),
    "change-tracking": (PointEvidence, _change_tracking),
    "disk-size": (PointEvidence, _disk_size),
    "map-root": (DiskSampleEvidence, _map_root),
    "catalog-row": (SampleEvidence, _catalog_row),
    "sudden-change": (BoundEvidence, _sudden_change),
    "change-rate": _odd(Measure.CHANGE_RATE, _change_rate),
    "deduplication": _odd(Measure.STORED_SHARE, lambda batch: _above(batch, by=0.25, times=1)),
    "duration": _odd(Measure.DURATION, lambda batch: _above(batch, by=1800, times=3)),
    "throughput": _odd(Measure.THROUGHPUT, lambda batch: _below(batch, share=1 / 3)),
}
"""The table that each question is asked of, and the function that builds its SELECT."""
