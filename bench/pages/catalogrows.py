"""Fills a catalog as many nights of a large site leave it, with everything that is noted for the pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from bench.pages.airflowrows import POLICY, run_keys
from bench.quality import DAY, GIB, REPOSITORY, fill, name_of
from vmkeep.catalog import (
    NotedCheck,
    NotedDay,
    NotedLeaving,
    NotedMark,
    NotedProof,
    NotedRecovery,
    NotedVm,
    open_catalog,
)
from vmkeep.catalog.schema import PointRow
from vmkeep.catalog.sums import begin_sums, settle_sums

_PLANS = 10
_DRILLS = 60
"""Drills of each plan of recovery."""
_LOCATION = "s3://bench/repository"


def fill_catalog(engine: Engine, url: str, *, vms: int, nights: int, now: datetime) -> None:
    """Enter the points of many VMs in many nights, and note what daily looks would have noted."""
    at = int(now.timestamp())
    fill(engine, vms, nights, at)
    with engine.begin() as connection:
        for night, run in run_keys(vms // 2, nights, now):
            of_it = (PointRow.repository == REPOSITORY) & (PointRow.ref == ref_of(vms // 2, night, at))
            connection.execute(update(PointRow).where(of_it).values(run=run))
    with Session(engine) as session, session.begin():
        begin_sums(session, REPOSITORY)
        session.flush()
        settle_sums(session, REPOSITORY, ())
    note(url, vms, nights, now)


def note(url: str, vms: int, nights: int, now: datetime) -> None:
    """Note VMs, a tenth more than have points; a proof of every point; a mark of every hundredth VM; and a year."""
    at = int(now.timestamp())
    refs = [(vm, night, ref_of(vm, night, at)) for vm in range(vms) for night in range(nights)]
    with open_catalog(url) as catalog:
        catalog.overview().note(
            REPOSITORY,
            location=_LOCATION,
            at=now,
            marks=(
                NotedMark(ref=ref, kind="damaged", reason="a pack is lost")
                for vm, night, ref in refs
                if not vm % 100 and not night
            ),
            proofs=(
                NotedProof(ref=ref, kind="written", result="passed", at=at - night * DAY) for _, night, ref in refs
            ),
            vms=(
                NotedVm(
                    vm=f"vc/vm-{vm}", name=name_of(vm), policy=POLICY if vm < vms else "", asked=True,
                    ref=ref_of(vm, 0, at) if vm < vms else None, proved=at - DAY if vm < vms else None,
                )
                for vm in range(vms + vms // 10)
            ),
        )  # fmt: skip
        capacity = catalog.capacity()
        for day in range(366, -1, -1):
            capacity.note_day(REPOSITORY, _size(now - timedelta(days=day), vms * nights, 366 - day))
            check = NotedCheck(at=now - timedelta(days=day), part=day % 30 + 1, parts=30, findings=0)
            capacity.note_check(REPOSITORY, check)
        capacity.note_leaving(
            REPOSITORY,
            [NotedLeaving(day=now + timedelta(days=ahead), points=vms, vms=vms, bytes_added=vms * GIB // 3)
             for ahead in range(15)],
        )  # fmt: skip
        catalog.recoveries().note(REPOSITORY, _recoveries(now))


def ref_of(vm: int, night: int, at: int) -> str:
    """Return the ref that the catalog's generator gives to a point."""
    taken = datetime.fromtimestamp(at - 8 * 3600 - night * DAY, UTC)
    return f"{name_of(vm)}/{taken:%Y%m%dT%H%M%SZ}-{night:032x}"


def _size(at: datetime, points: int, age: int) -> NotedDay:
    return NotedDay(
        at=at, points=points, protected=points * 100 * GIB, bytes_read=points * GIB, bytes_added=points * GIB // 3,
        bytes_stored=points * GIB // 4 + age * 500 * GIB, free=400_000 * GIB - age * 500 * GIB,
    )  # fmt: skip


def _recoveries(now: datetime) -> Iterator[NotedRecovery]:
    for plan in range(_PLANS):
        for drill in range(_DRILLS):
            began = now - timedelta(days=7 * drill, hours=plan)
            yield NotedRecovery(
                run=f"drill-{plan}-{drill}", plan=f"site-{plan}", drill=True, vcenter="vc01", began=began,
                ended=began + timedelta(hours=1), healthy=20, off=0, failed=0, rpo=8 * 3600, rto=3000,
            )  # fmt: skip
