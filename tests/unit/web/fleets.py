"""A small fleet in a catalog, with everything that the pages have to show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.unit.catalog.test_catalog import Manifests, point
from vmkeep.catalog import NotedMark, NotedProof, NotedVm, open_catalog
from vmkeep.model.point import BackupKind, RestorePoint, VmIdentity
from vmkeep.policy import Policy

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202egpj.exe\x07"
"""A name that a page must show harmless."""


def taken(vm: str, hours_ago: float, number: int, *, policy: str | None = "nightly", key: str = "") -> RestorePoint:
    """Return a point of a VM."""
    made = point(number, vm)
    is_first = number % 10 == 0
    image = replace(
        made.images[0],
        kind=BackupKind.FULL if is_first else BackupKind.INCREMENTAL,
        bytes_read=1 << 30 if is_first else 40 << 20,
        bytes_stored=(300 if is_first else 10 + number % 10) << 20,
        seconds=12.0,
    )
    identity = VmIdentity(
        name=vm, key=key or f"key-{vm}", moref=f"vm-{number // 10}", vcenter="vc-uuid", server="vc01.example",
        inventory_path=f"/DC/vm/{vm}", addresses=("192.0.2.7",), dns_name=f"{vm}.example",
    )  # fmt: skip
    return replace(
        made, vm=identity, taken_at=NOW - timedelta(hours=hours_ago), policy=policy, images=(image,),
    )  # fmt: skip


def fill(url: str, *, pictured: bool = True) -> list[RestorePoint]:
    """Fill a catalog; return the points.

    :param pictured: note that a picture is kept with a boot test. No repository has it.
    """
    renamed = taken("web-old", 80, 10, key="key-web01")
    web = [replace(taken("web01", 56 - 24 * i, 11 + i, key="key-web01")) for i in range(3)]
    moved = replace(web[-1], vm=replace(web[-1].vm, inventory_path="/DC/vm/new/web01", addresses=("192.0.2.9",)))
    points = [
        renamed, *web[:2], moved,
        taken("db01", 50, 20), taken("lab01", 5, 30, policy=None), taken("bad01", 5, 40),
        taken(HOSTILE, 3, 50, key="key-<hostile>"),
    ]  # fmt: skip
    held = Manifests(*points)
    with open_catalog(url) as catalog:
        catalog.refresh(held)
        catalog.overview().note(
            "repo",
            location="/srv/repo",
            at=NOW - timedelta(hours=4),
            marks=[
                NotedMark(ref=points[6].ref, kind="damaged", reason="lost pack"),
                NotedMark(ref=points[1].ref, kind="pinned", reason="audit", until=int(NOW.timestamp()) + 86400),
            ],
            proofs=[
                NotedProof(
                    ref=moved.ref, kind="boot", result="passed", at=int(NOW.timestamp()) - 7200, has_picture=pictured
                ),
                NotedProof(ref=moved.ref, kind="digests", result="failed", at=int(NOW.timestamp()) - 3600),
            ],
            vms=[
                NotedVm(
                    vm="vc/vm-1", name="web01", policy="nightly", asked=True, ref=moved.ref,
                    proved=int(NOW.timestamp()) - 7200,
                ),
                NotedVm(vm="vc/vm-8", name="new01", policy="nightly", asked=True),
                NotedVm(vm="vc/vm-9", name="bare01", policy="", asked=True),
                NotedVm(vm="vc/vm-7", name="tmpl01", policy="", asked=True, obstacle="it is a template"),
            ],
        )  # fmt: skip
    return points


def nightly(tmp_path) -> Policy:
    """Return a policy whose points may be a day and two hours old."""
    from vmkeep.policy import read_file

    file = tmp_path / "nightly.yaml"
    file.write_text(
        "name: nightly\nselection: name:web01\nmax_age: 26h\nwindow: {start: 01:00, end: 02:00, time_zone: UTC}\n"
    )
    read = read_file(file)
    assert read.policy is not None, read.lines
    return read.policy
