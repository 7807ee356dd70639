"""Restore points of many nights, and a catalog with a check, for tests of data quality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from vmkeep.catalog import Catalog, PolicyTerms, QualityCheck, VmStanding, Wish, open_catalog
from vmkeep.model.disk import ChangeId, ControllerKind, Disk, SkipReason
from vmkeep.model.fullreason import FullReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.quality import SUITE

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
GIB = 1 << 30
NIGHTS = 12
HOUR, DAY = 3600, 86400
REPOSITORY = "11111111-2222-4333-8444-555555555555"
NIGHTLY = PolicyTerms(
    name="nightly", max_age=36 * HOUR, proved_within=30 * DAY, snapshots_within=3 * DAY, forbids_skipped=True
)
RELAXED = replace(NIGHTLY, name="relaxed", max_age=None, proved_within=None, forbids_skipped=False)


def disk(key: int = 2000, *, capacity: int = 100 * GIB, skip: SkipReason | None = None, left_out: str = "") -> Disk:
    return Disk(
        key=key, label=f"Hard disk {key - 1999}", controller=ControllerKind.SCSI, controller_type="LsiLogic", bus=0,
        unit=key - 2000, capacity=capacity, backing="FlatVer2", file_name="[ds1] a/a.vmdk", skip=skip,
        left_out=left_out,
    )  # fmt: skip


def point(vm: str, night: int, **fields: Any) -> RestorePoint:
    """Return the point of a night, counted from the newest one, 0. It is like those of every night.

    :param fields: of the point or its only image, in place of the usual ones.
    """
    wobble = 1 + (night * 7 % 5 - 2) / 50
    image = DiskImage(
        disk=disk(), root="ab" * 32, kind=BackupKind.INCREMENTAL, reason="the night before",
        change_id=ChangeId(f"52 {night}"), bytes_read=int(GIB * wobble), bytes_stored=int(GIB * wobble * 0.3),
        seconds=60 * wobble,
    )  # fmt: skip
    of_image = {name: fields.pop(name) for name in list(fields) if name in DiskImage.__dataclass_fields__}
    made = RestorePoint(
        id=hashlib.md5(f"{vm}{night}".encode()).hexdigest(),
        vm=VmIdentity(name=vm, key=f"key-{vm}", moref=f"vm-{vm}", vcenter="vc"),
        taken_at=NOW - timedelta(hours=8, days=night), run=f"run-{vm}-{night}", mode_asked=BackupMode.SNAPSHOT_EXCL_MEM,
        mode_used=BackupMode.SNAPSHOT_EXCL_MEM, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH,
        images=(replace(image, **of_image),), policy="nightly",
    )  # fmt: skip
    return replace(made, **fields)


def nights(vm: str, **newest: Any) -> list[RestorePoint]:
    """Return the points of a VM for a row of nights.

    :param newest: fields of the newest one, in place of the usual ones.
    """
    return [point(vm, 0, **newest), *(point(vm, night) for night in range(1, NIGHTS))]


def standing(vm: str, **fields: Any) -> VmStanding:
    """Return a VM of the policy that is as it should be."""
    at = int(NOW.timestamp())
    usual = VmStanding(
        vm=f"vc/vm-{vm}", name=vm, policy="nightly", asked=True, ref=f"key-{vm}/x", newest=at - 8 * HOUR,
        proved=at - 10 * DAY,
    )  # fmt: skip
    return replace(usual, **fields)


BROKEN: dict[str, list[RestorePoint]] = {
    "skipped-disk": nights("skips", skipped=(disk(2001, skip=SkipReason.INDEPENDENT),)),
    "change-tracking": nights("untracked", change_id=None, full_reason=FullReason.SNAPSHOTS_IN_THE_WAY),
    "disk-size": nights("mapless", root="ab" * 31),
    "sudden-change": nights("encrypted", bytes_read=40 * GIB, bytes_stored=39 * GIB, seconds=600.0),
    "change-rate": nights("rewritten", bytes_read=40 * GIB, bytes_stored=12 * GIB, seconds=600.0),
    "deduplication": nights("unknown", bytes_stored=int(0.9 * GIB)),
    "duration": nights("slow", bytes_read=int(1.1 * GIB), seconds=7200.0),
}
"""Points that break one expectation, by its id."""
ALONG: dict[str, set[str]] = {
    "sudden-change": {"change-rate", "deduplication"},
    "duration": {"throughput"},
}
"""Expectations that the same points cannot but break, too."""


@contextmanager
def check_over(
    catalog: Catalog, points: Sequence[RestorePoint], standings: Sequence[VmStanding] = ()
) -> Iterator[QualityCheck]:
    """Enter points into a catalog, and open a check of them, with two policies."""
    for each in points:
        catalog.record(REPOSITORY, each)
    with catalog.open_check(REPOSITORY, NOW) as check:
        check.lay([NIGHTLY, RELAXED])
        check.lay([Wish(expectation="change-rate", policy="relaxed", severity="failure")])
        check.lay(list(standings))
        check.lay_points(())
        yield check


def answers(catalog: Catalog, check: QualityCheck) -> dict[str, list[dict[str, Any]]]:
    """Ask all questions without Great Expectations, and return the rows of those that have some."""
    found = {}
    with open_rows(catalog) as connection:
        for question in check.questions({one.id: one.severity.value for one in SUITE}):
            rows = connection.execute(text(question.query.format(batch=question.batch))).mappings().all()
            if rows:
                found[question.expectation] = [dict(row) for row in rows]
    return found


@contextmanager
def open_rows(catalog: Catalog) -> Iterator[Any]:
    with catalog._engine.connect() as connection:
        yield connection


@contextmanager
def fresh_catalog(folder: Any) -> Iterator[Catalog]:
    with open_catalog(f"sqlite:///{folder / 'catalog.db'}") as catalog:
        yield catalog
