"""A check of data quality over a large catalog: how long it takes, and how much memory.

``python -m bench.quality --vms 5000 --points 365`` fills a catalog as that many nights leave it, in SQLite below
``--dir`` or in the database of ``--url``, and asks the whole suite by Great Expectations. Every hundredth VM has
something that an expectation finds. The sample of the repository is left out, because there is no repository.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, create_engine, insert

from vmkeep.catalog import PolicyTerms, VmStanding, open_catalog
from vmkeep.catalog.schema import DiskFactRow, DiskRow, FactRow, GuestRow, PointRow, SourceRow
from vmkeep.quality import SUITE, ask, judge

NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
AT = int(NOW.timestamp())
DAY = 86400
GIB = 1 << 30
REPOSITORY = "11111111-2222-4333-8444-555555555555"
AT_ONCE = 20_000


def rows_of(vm: int, night: int) -> dict[type, dict[str, Any]]:
    """Return the rows of one point, night 0 the newest."""
    key, at = f"5029ab12-0000-4000-8000-{vm:012d}", AT - 8 * 3600 - night * DAY
    ref = f"{key}/{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{vm:016x}{night:016x}"
    name, odd = f"vm{vm:05d}", night == 0 and vm % 100 == 0
    wobble = 1 + ((vm + night) * 7 % 11 - 5) / 50
    read = int(GIB * wobble * (40 if odd else 1))
    stored = int(read * (0.97 if odd else 0.3))
    own = {"repository": REPOSITORY, "ref": ref}
    point = {"id": f"{vm:016x}{night:016x}", "vm_key": key, "vm_name": name, "kind": "incremental"}
    sums = {"bytes_read": read, "bytes_stored": stored}
    disk = {"key": 2000, "label": "Hard disk 1", "address": "scsi0:0", "capacity": 100 * GIB, "backing": "FlatVer2",
            "kind": "incremental", "reason": "the night before", "root": "ab" * 32, "skipped": None}  # fmt: skip
    return {
        PointRow: own | point | sums | {"taken_at": datetime.fromtimestamp(at, UTC), "run": f"run{night}/{vm}",
                                        "consistency": "crash", "warnings": 0},
        SourceRow: own | {"vcenter": "vc", "moref": f"vm-{vm}", "inventory_path": f"/DC/vm/{name}", "server": "vc01"},
        GuestRow: own | {"addresses": "10.0.0.1", "dns_name": name},
        FactRow: own | sums | {"vm_key": key, "vm_name": name, "at": at, "policy": f"policy{vm % 20}",
                               "kind": "incremental", "capacity": 100 * GIB, "longest": 60 * wobble,
                               "seconds": 60 * wobble},
        DiskRow: own | disk,
        DiskFactRow: own | sums | {"key": 2000, "full_reason": None, "tracked": True, "expects_tracking": True,
                                   "unasked": False},
    }  # fmt: skip


def fill(engine: Engine, vms: int, points: int) -> None:
    """Enter the points of all VMs, night after night, as backups do."""
    everything: Iterator[tuple[int, int]] = ((vm, night) for night in reversed(range(points)) for vm in range(vms))
    while some := list(islice(everything, AT_ONCE)):
        made = [rows_of(vm, night) for vm, night in some]
        with engine.begin() as connection:
            for table in (PointRow, SourceRow, GuestRow, FactRow, DiskRow, DiskFactRow):
                connection.execute(insert(table), [rows[table] for rows in made])


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
        check.lay([PolicyTerms(name=f"policy{number}", max_age=36 * 3600, proved_within=30 * DAY,
                               snapshots_within=3 * DAY, forbids_skipped=True) for number in range(20)])  # fmt: skip
        check.lay([VmStanding(vm=f"vc/vm-{vm}", name=f"vm{vm:05d}", policy=f"policy{vm % 20}", asked=True,
                              newest=AT - (60 if vm % 100 == 1 else 8) * 3600, ref="ref", proved=AT - 9 * DAY)
                   for vm in range(vms)])  # fmt: skip
        told("VMs and policies laid out")
        questions = check.questions({one.id: one.severity.value for one in SUITE})
        answers = ask(catalog.url, questions)
        told(f"{len(answers)} expectations asked")
    told("evidence deleted")
    for one in judge(answers, {}):
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
