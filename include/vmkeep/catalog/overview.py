"""Answers the questions of the pages of the web view, each by a few queries that an index serves.

A page shows the points of all repositories that one database has. The number of rows that a question reads is bounded
by the number of VMs, or by the points of one page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Engine, and_, delete, func, insert, or_, select, tuple_
from sqlalchemy.orm import Session

from vmkeep.catalog.engine import make_tables, speaking
from vmkeep.catalog.failures import NotedFailure, failures_of
from vmkeep.catalog.listed_points import fields_of, list_rows
from vmkeep.catalog.noting import hold_notes
from vmkeep.catalog.overview_tables import (
    NOTED,
    Noted,
    NotedFailureRow,
    NotedMarkRow,
    NotedProofRow,
    NotedRepositoryRow,
    NotedVmRow,
)
from vmkeep.catalog.overview_values import (
    ListedPoint,
    NotedMark,
    NotedProof,
    NotedRepository,
    NotedVm,
    VmSummary,
)
from vmkeep.catalog.schema import PointRow
from vmkeep.catalog.statements import parted
from vmkeep.catalog.summaries import summaries_of_all, summaries_of_vm


class Overview:
    """The questions of the pages to one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with speaking(engine.url):
            make_tables(engine, Noted.metadata)

    def note(
        self,
        repository: str,
        *,
        location: str,
        at: datetime,
        marks: Iterable[NotedMark],
        proofs: Iterable[NotedProof],
        vms: Iterable[NotedVm],
        unasked: Collection[str] = (),
    ) -> None:
        """Replace everything that is noted of a repository, in one transaction.

        :param unasked: hosts of vCenters whose VMs stay as they were noted, because nobody could ask for them.
        """
        own = {"repository": repository}
        stays = [NotedVmRow.vm.startswith(f"{host}/", autoescape=True) for host in unasked]
        with self._session() as session:
            hold_notes(session, repository)
            for table in NOTED:
                of_it = delete(table).where(table.repository == repository)
                session.execute(of_it.where(~or_(*stays)) if stays and table is NotedVmRow else of_it)
            session.add(NotedRepositoryRow(repository=repository, location=location, at=int(at.timestamp())))
            proofs = list(proofs)
            kinds: tuple[tuple[Iterable[NotedMark | NotedProof | NotedFailure | NotedVm], type[Noted]], ...] = (
                (marks, NotedMarkRow), (proofs, NotedProofRow), (failures_of(proofs), NotedFailureRow),
                (vms, NotedVmRow),
            )  # fmt: skip
            for rows, row in kinds:
                for some in parted(rows):
                    session.execute(insert(row), [own | asdict(each) for each in some])

    def repositories(self) -> list[NotedRepository]:
        """Return the repositories that have points here, or were looked at."""
        with self._session() as session:
            noted = {row.repository: row for row in session.scalars(select(NotedRepositoryRow))}
            return [
                NotedRepository(
                    repository=each,
                    location=noted[each].location if each in noted else None,
                    at=_time(noted[each].at) if each in noted else None,
                )
                for each in sorted({*noted, *_repositories(session)})
            ]

    def summaries(self, now: datetime, vm_key: str | None = None) -> list[VmSummary]:
        """Return the VMs that have points.

        A point is good if it is neither damaged nor suspect, has passed what was checked of it, and is not of the
        future, because such a point proves nothing.

        :param vm_key: only this VM; ``None``: all.
        """
        with self._session() as session:
            if vm_key is not None:
                return summaries_of_vm(session, now, vm_key)
            return summaries_of_all(session, now, _repositories(session))

    def places(self, vms: Collection[VmSummary]) -> dict[str, str]:
        """Return where VMs were when they were backed up: host of the vCenter and managed object id, by the VM's key.

        Those of which nothing is recorded are left out.
        """
        keys = {(each.repository, each.told_by): each.vm_key for each in vms}
        found: dict[str, str] = {}
        with self._session() as session:
            for some in parted(keys):
                columns = (PointRow.repository, PointRow.ref, PointRow.server, PointRow.moref)
                wanted = tuple_(PointRow.repository, PointRow.ref).in_(some)
                for row in session.execute(select(*columns).where(wanted)):
                    if row.server and row.moref:
                        found[keys[row.repository, row.ref]] = f"{row.server}/{row.moref}"
        return found

    def noted_vms(self, vm_key: str | None = None, places: Collection[str] = ()) -> list[tuple[str, NotedVm]]:
        """Return the VMs of the last look at each repository, each with the repository.

        :param vm_key: only those whose newest point is of this VM, or that are at one of the places; ``None``: all.
        :param places: hosts of vCenters, each with a managed object id.
        """
        row = NotedVmRow
        query = select(row.repository, row.vm, row.name, row.policy, row.asked, row.obstacle, row.ref, row.proved)
        if vm_key is not None:
            query = query.where(or_(row.ref.startswith(f"{vm_key}/", autoescape=True), row.vm.in_(list(places))))
        with self._session() as session:
            return [
                (each["repository"], NotedVm(**fields_of(NotedVm, each))) for each in session.execute(query).mappings()
            ]

    def failures(self, vm_key: str | None = None) -> list[NotedFailure]:
        """Return the checks that VMs have failed and not passed since, as of the last look at each repository.

        :param vm_key: only those of this VM; ``None``: all.
        """
        row = NotedFailureRow
        query = select(row.vm_key, row.kind, row.ref, row.at).order_by(row.vm_key, row.kind)
        if vm_key is not None:
            query = query.where(row.vm_key == vm_key)
        with self._session() as session:
            return [NotedFailure(**each) for each in session.execute(query).mappings()]

    def trends(self, vms: Collection[tuple[str, str]], most: int) -> dict[tuple[str, str], list[int]]:
        """Return the bytes that the newest points of some VMs have stored, the oldest first.

        :param vms: repository and key of each VM.
        :param most: points of each VM.
        """
        point = PointRow
        rank = func.row_number().over(partition_by=(point.repository, point.vm_key), order_by=point.at.desc())
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        with self._session() as session:
            for some in parted(vms):
                ranked = (
                    select(point.repository, point.vm_key, point.at, point.bytes_stored, rank.label("place"))
                    .where(tuple_(point.repository, point.vm_key).in_(some))
                    .subquery()
                )
                for row in session.execute(select(ranked).where(ranked.c.place <= most).order_by(ranked.c.at)):
                    found[(row.repository, row.vm_key)].append(row.bytes_stored)
        return dict(found)

    def count(self, vm_key: str) -> int:
        """Return the number of a VM's points, in all repositories."""
        with self._session() as session:
            return session.scalar(select(func.count()).where(PointRow.vm_key == vm_key)) or 0

    def points(self, vm_key: str, *, first: int, most: int) -> list[ListedPoint]:
        """Return some points of a VM, the newest first.

        :param first: number of newer points that are left out.
        """
        order = (PointRow.taken_at.desc(), PointRow.ref.desc())
        with self._session() as session:
            chosen = select(PointRow).where(PointRow.vm_key == vm_key).order_by(*order).offset(first).limit(most)
            return list_rows(session, list(session.scalars(chosen)))

    def points_named(self, point_ids: Collection[str]) -> dict[str, ListedPoint]:
        """Return some points by their ids; those that are not there are left out."""
        with self._session() as session:
            # The last of two copies of a point wins, and it is that of the first repository.
            query = select(PointRow).where(PointRow.id.in_(point_ids)).order_by(PointRow.repository.desc())
            found = {row.id: row for row in session.scalars(query)}
            return {each.id: each for each in list_rows(session, list(found.values()))}

    def place_of(self, point_id: str) -> tuple[str, int] | None:
        """Return the key of a point's VM, and the number of the VM's newer points; ``None``: there is no such point."""
        with self._session() as session:
            query = select(PointRow).where(PointRow.id == point_id).order_by(PointRow.repository).limit(1)
            found = session.scalar(query)
            if found is None:
                return None
            newer = or_(
                PointRow.taken_at > found.taken_at,
                and_(PointRow.taken_at == found.taken_at, PointRow.ref > found.ref),
            )
            number = session.scalar(select(func.count()).where(PointRow.vm_key == found.vm_key, newer))
            return found.vm_key, number or 0

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


def _repositories(session: Session) -> set[str]:
    """Return the ids of the repositories that have points."""
    first = select(func.min(PointRow.repository).label("id")).cte(recursive=True)
    after = select(func.min(PointRow.repository)).where(PointRow.repository > first.c.id).scalar_subquery()
    # A step of the index for each repository, because DISTINCT would read every point.
    steps = first.union_all(select(after).where(first.c.id.is_not(None)))
    return {each for each in session.scalars(select(steps.c.id)) if each is not None}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
