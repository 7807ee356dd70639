"""Keeps the number, the bytes and the newest of each VM's points, so that a page need not group all points.

Whoever enters or drops points counts the points of these VMs again, last in the same transaction. They are counted and
not added up, so that no mistake outlives the next change. The row of the repository is held meanwhile, because each of
two writers at once would miss the point of the other one.

A refresh compares the rows with the list of the repository's points, because an older program, which knows no sums,
may write into the same database. Until then a reader finds out by the newest point: see ``summaries``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from vmkeep.catalog.schema import PointRow, SummedRepositoryRow, SummedVmRow
from vmkeep.catalog.statements import parted

_COPIED: Final = ("repository", "vm_key", "ref", "at", "vm_name", "policy", "capacity")
"""The columns that the sums of a VM take from its newest point."""


def begin_sums(session: Session, repository: str) -> None:
    """Make the row of a repository that writers hold. Until :func:`settle_sums` ends, nobody reads its sums."""
    if session.get(SummedRepositoryRow, repository) is None:
        session.add(SummedRepositoryRow(repository=repository, whole=False))


def drop_sums(session: Session, repository: str) -> None:
    """Forget the sums of a repository, because all its points are entered anew."""
    _mark(session, repository, whole=False)  # which holds the row, and reads nothing that may not belong there
    session.execute(delete(SummedVmRow).where(SummedVmRow.repository == repository))


def sum_again(session: Session, repository: str, vm_keys: Iterable[str]) -> None:
    """Count the points of some VMs. The last step of a transaction, because it holds the row of the repository."""
    if _hold(session, repository):
        _count(session, repository, sorted(set(vm_keys)))


def settle_sums(session: Session, repository: str, refs: Iterable[str]) -> None:
    """Count the points of the VMs whose sums do not fit; of all VMs, if the repository has no sums yet.

    :param refs: the points that are entered.
    """
    if not _hold(session, repository):
        session.execute(delete(SummedVmRow).where(SummedVmRow.repository == repository))
        _insert(session, PointRow.repository == repository)
        _mark(session, repository, whole=True)
        return
    counts: Counter[str] = Counter()
    newest: dict[str, str] = {}
    for ref in refs:
        vm_key = ref.rpartition("/")[0]
        counts[vm_key] += 1
        newest[vm_key] = max(ref, newest.get(vm_key, ""))  # refs of one VM are ordered by time
    query = select(SummedVmRow.vm_key, SummedVmRow.points, SummedVmRow.ref).where(SummedVmRow.repository == repository)
    told = {row.vm_key: (row.points, row.ref) for row in session.execute(query)}
    listed = {vm_key: (counts[vm_key], ref) for vm_key, ref in newest.items()}
    _count(session, repository, sorted(key for key, _ in told.items() ^ listed.items()))


def _hold(session: Session, repository: str) -> bool | None:
    """Wait for other writers of a repository. Return whether it has sums of all VMs; ``None``: of none yet."""
    row = SummedRepositoryRow
    return session.scalar(select(row.whole).where(row.repository == repository).with_for_update())


def _mark(session: Session, repository: str, *, whole: bool) -> None:
    row = SummedRepositoryRow
    session.execute(update(row).where(row.repository == repository).values(whole=whole))


def _count(session: Session, repository: str, vm_keys: Iterable[str]) -> None:
    for some in parted(dict.fromkeys(vm_keys)):
        row = SummedVmRow
        session.execute(delete(row).where(row.repository == repository, row.vm_key.in_(some)))
        _insert(session, PointRow.repository == repository, PointRow.vm_key.in_(some))


def _insert(session: Session, *of_vms: ColumnElement[bool]) -> None:
    own: dict[str, Any] = {"partition_by": (PointRow.repository, PointRow.vm_key)}
    place = func.row_number().over(**own, order_by=(PointRow.at.desc(), PointRow.ref.desc()))
    counted = (
        select(
            *(getattr(PointRow, name) for name in _COPIED), place.label("place"),
            func.count().over(**own).label("points"), func.sum(PointRow.bytes_stored).over(**own).label("bytes_stored"),
        )
        .where(*of_vms)
        .subquery()
    )  # fmt: skip
    columns = (*_COPIED, "points", "bytes_stored")
    newest = select(*(counted.c[name] for name in columns)).where(counted.c.place == 1)
    session.execute(insert(SummedVmRow).from_select(columns, newest))
