"""A check of data quality over a large catalog: how long it takes, and how much memory.

``python -m bench.quality --vms 5000 --points 365`` fills a catalog as that many nights leave it, in SQLite below
``--dir`` or in the database of ``--url``, and asks the whole suite by Great Expectations. Every hundredth VM has
something that an expectation finds. The sample of the repository is left out, because there is no repository.
"""

from __future__ import annotations

import argparse
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    literal,
    select,
    true,
    update,
)  # fmt: skip
from sqlalchemy.orm import aliased

from vmkeep.catalog import PolicyTerms, VmStanding, open_catalog
from vmkeep.catalog.schema import DiskRow, PointRow
from vmkeep.quality import SUITE, ask, judge

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
AT = int(NOW.timestamp())
DAY = 86400
GIB = 1 << 30
REPOSITORY = "11111111-2222-4333-8444-555555555555"
TEMPLATE, VM = "template", "the-vm"
NAMED = {"id", "ref", "vm_key", "vm_name", "run", "moref", "inventory_path", "dns_name"}
"""Columns that hold the VM's name."""


def rows_of(night: int, now: int = AT) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the point of a night, 0 the newest, of the VM that is copied for all others; and its disk."""
    at = now - 8 * 3600 - night * DAY
    wobble = 1 + (night * 7 % 11 - 5) / 50
    sums = {"bytes_read": int(GIB * wobble), "bytes_stored": int(GIB * wobble * 0.3)}
    point = {
        "repository": TEMPLATE, "id": f"{night:x}-{VM}", "vm_key": VM, "vm_name": VM,
        "ref": f"{VM}/{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{night:032x}",
        "taken_at": datetime.fromtimestamp(at, UTC), "at": at, "run": f"run{night}/{VM}", "policy": "nightly",
        "kind": "incremental", "consistency": "crash", "disks": 1, "skipped": 0, "capacity": 100 * GIB,
        "longest": 60 * wobble, "seconds": 60 * wobble, "warnings": 0, "vcenter": "vc", "moref": VM,
        "inventory_path": f"/DC/vm/{VM}", "server": "vc01", "addresses": "10.0.0.1", "dns_name": VM,
    }  # fmt: skip
    disk = {
        "key": 2000, "label": "Hard disk 1", "address": "scsi0:0", "capacity": 100 * GIB,
        "backing": "FlatVer2", "kind": "incremental", "reason": "the night before", "full_reason": None,
        "root": "ab" * 32, "skipped": None, "tracked": True, "expects_tracking": True, "unasked": False,
    }  # fmt: skip
    return point | sums, disk | sums


def fill(engine: Engine, vms: int, points: int, now: int = AT) -> None:
    """Enter the points of one VM, and copy them for all others within the database.

    :param now: the newest points are eight hours older.
    """
    made = [rows_of(night, now) for night in range(points)]
    with engine.begin() as connection:
        connection.execute(insert(PointRow), [point for point, _ in made])
        query = select(PointRow.ref, PointRow.number).where(PointRow.repository == TEMPLATE)
        numbers = {row.ref: row.number for row in connection.execute(query)}
        connection.execute(insert(DiskRow), [{"point": numbers[point["ref"]]} | disk for point, disk in made])
        _copy(connection, vms)
        connection.execute(delete(DiskRow).where(DiskRow.point.in_(numbers.values())))
        connection.execute(delete(PointRow).where(PointRow.repository == TEMPLATE))
        odd = [name_of(vm) for vm in range(0, vms, 100)]
        changed = {"bytes_read": 40 * GIB, "bytes_stored": 39 * GIB}
        newest = (PointRow.vm_key.in_(odd)) & (PointRow.at == now - 8 * 3600)
        connection.execute(update(PointRow).where(newest).values(**changed))


def _copy(connection: Connection, vms: int) -> None:
    """Copy the points of one VM for some others."""
    named = Table("bench_vm", MetaData(), Column("name", String(64), primary_key=True))
    named.create(connection)
    connection.execute(insert(named), [{"name": name_of(vm)} for vm in range(vms)])
    columns = [column for column in PointRow.__table__.columns if column.name not in ("number", "repository")]
    copied = [func.replace(column, VM, named.c.name) if column.name in NAMED else column for column in columns]
    query = select(literal(REPOSITORY), *copied).join_from(PointRow, named, true())
    query = query.where(PointRow.repository == TEMPLATE).order_by(named.c.name, PointRow.ref)
    names = ("repository", *(column.name for column in columns))
    connection.execute(insert(PointRow).from_select(names, query))

    old = aliased(PointRow)
    columns = [column for column in DiskRow.__table__.columns if column.name != "point"]
    disks = select(PointRow.number, *columns).join(old, old.number == DiskRow.point)
    disks = disks.join(PointRow, (PointRow.at == old.at) & (PointRow.repository == REPOSITORY))
    disks = disks.where(old.repository == TEMPLATE)
    names = ("point", *(column.name for column in columns))
    connection.execute(insert(DiskRow).from_select(names, disks.order_by(PointRow.number)))
    named.drop(connection)


def name_of(vm: int) -> str:
    """Return the key and name of a VM, in the form of an instance UUID."""
    return f"5029ab12-0000-4000-8000-{vm:012d}"


def measure(url: str, vms: int) -> None:
    """Check the catalog, and print a row for each part of the check."""
    began = time.monotonic()

    def told(what: str) -> None:
        nonlocal began
        print(f"{what:<44} {time.monotonic() - began:8.1f} s")
        began = time.monotonic()

    with open_catalog(url) as catalog, catalog.open_check(REPOSITORY, NOW) as check:
        found = check.lay_points(())
        told(f"newest points and bounds of {found:,} VMs")
        check.lay([PolicyTerms(name="nightly", max_age=36 * 3600, proved_within=30 * DAY,
                               snapshots_within=3 * DAY, forbids_skipped=True)])  # fmt: skip
        check.lay([VmStanding(vm=f"vc/vm-{vm}", name=name_of(vm), policy="nightly", asked=True,
                              newest=AT - (60 if vm % 100 == 1 else 8) * 3600, ref="ref", proved=AT - 9 * DAY)
                   for vm in range(vms)])  # fmt: skip
        told("VMs and policies laid out")
        questions = check.questions({one.id: one.severity.value for one in SUITE})
        answers = ask(catalog.url, questions)
        told(f"{len(answers)} expectations asked")
    told("evidence deleted")
    for one in judge(answers, skipped={}, gaps={}, namesakes=()):
        if one.found:
            print(f"  {one.id}: {one.found:,}")
    print(f"greatest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    """Fill a catalog, and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--points", type=int, default=365)
    parser.add_argument("--dir", type=Path, help="folder for the SQLite file")
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database, in place of SQLite")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="vmkeep-bench-quality-", dir=given.dir) as folder:
        url = given.url or f"sqlite:///{folder}/catalog.db"
        with open_catalog(url):
            pass
        engine = create_engine(url)
        began = time.monotonic()
        fill(engine, given.vms, given.points)
        engine.dispose()
        print(f"{given.vms * given.points:,} points entered in {time.monotonic() - began:.0f} s")
        measure(url, given.vms)


if __name__ == "__main__":
    main()
