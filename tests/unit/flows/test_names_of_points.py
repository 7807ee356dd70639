"""A restore point has one name and one kind, whoever makes it, and in whichever zone its time is given."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from tests.sealed import store_file
from vmkeep.catalog import open_catalog
from vmkeep.cli.main import cli
from vmkeep.flows import backup
from vmkeep.flows.backup_values import BackupRequest, Preflight, SnapshotTaken
from vmkeep.flows.copy_values import CopyState
from vmkeep.flows.pointcopy import copy_points
from vmkeep.images import import_images, importing
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.job import DiskCopy, from_plain, to_plain
from vmkeep.model.point import (
    BackupKind,
    BackupMode,
    Consistency,
    DiskImage,
    Quiesce,
    RestorePoint,
    VmIdentity,
    stamp_of,
)
from vmkeep.model.site import Site
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.frames import Kind
from vmkeep.retention.forecast import expected_points
from vmkeep.retention.rule import PointFacts

HERE = timezone(timedelta(hours=2))
NOON_HERE = datetime(2026, 1, 2, 12, tzinfo=HERE)
IN_UTC = "20260102T100000Z"
VM = VmIdentity(name="web01", key="5021f3ab", moref="vm-1", vcenter="vc")


def disk(number=0):
    return Disk(
        key=2000 + number, label=f"Hard disk {number + 1}", controller=ControllerKind.SCSI, controller_type="LsiLogic",
        bus=0, unit=number, capacity=1 << 20, backing="FlatVer2", file_name=f"[ds] a/a_{number}.vmdk",
    )  # fmt: skip


def point(*kinds, root="00" * 32):
    images = tuple(DiskImage(disk=disk(n), root=root, kind=kind, reason="") for n, kind in enumerate(kinds))
    return RestorePoint(
        id="0123456789abcdef", vm=VM, taken_at=NOON_HERE, run="r", mode_asked=BackupMode.ASIS,
        mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH, images=images,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path):
    create_repository(str(tmp_path / "repo"))
    return Site(repository=str(tmp_path / "repo"), catalog=f"sqlite:///{tmp_path}/catalog.db")


@pytest.fixture
def sealed(site):
    """A point that a backup has sealed, of a snapshot whose time was given in another zone."""
    with open_repository(site.repository) as repository:
        begun = repository.begin_run("run")
        root, size = store_file(repository, bytes(512), run="run", begun=begun)
    pre = Preflight(
        request=BackupRequest(vm_selector="web01", run="run"), vm=VM, disks=(disk(),), running=True, tracked=True,
        mode=BackupMode.SNAPSHOT_EXCL_MEM, quiesce=Quiesce.NONE, parent=None,
    )  # fmt: skip
    taken = SnapshotTaken(
        begun=begun, snapshot="snapshot-1", vm="vm-1", consistency=Consistency.CRASH, taken_at=NOON_HERE
    )
    copy = DiskCopy(
        run="run", begun=begun, snapshot="snapshot-1", disk=disk(), root=root, kind=BackupKind.FULL, reason="first",
        change_id=None, extents=root, extents_size=size, bytes_read=512, bytes_stored=0, seconds=1.0, transport="nbd",
    )  # fmt: skip
    return backup.seal(site, pre, from_plain(SnapshotTaken, to_plain(taken)), (copy,)).point


def test_a_backup_names_its_point_in_utc_also_in_the_catalog(site, sealed):
    assert sealed.startswith(f"5021f3ab/{IN_UTC}-")
    with open_repository(site.repository) as repository, open_catalog(site.catalog) as catalog:
        assert [repository.load_point(sealed).ref] == list(repository.point_refs()) == [sealed]
        assert [entry.ref for entry in catalog.points(repository.id)] == [sealed]
        refreshed = catalog.refresh(repository)
    assert (refreshed.added, refreshed.removed, refreshed.damaged) == (0, 0, ())


def test_an_import_names_its_point_in_utc(site, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "now", lambda: NOON_HERE)
    (tmp_path / "disk.raw").write_bytes(bytes(1 << 20))

    with open_repository(site.repository) as repository:
        made = import_images(repository, [tmp_path / "disk.raw"], name="web")

        assert made.ref.startswith(f"image-web/{IN_UTC}-")
        assert repository.find_point("latest:web") == made


def test_a_copy_has_the_name_of_its_original(site, sealed, tmp_path):
    target = create_repository(str(tmp_path / "second"))
    with open_repository(site.repository) as source:
        first, again = (copy_points(source, target, [sealed]).points[0] for _ in range(2))

    assert (first.state, again.state) == (CopyState.COPIED, CopyState.PRESENT)
    assert list(target.point_refs()) == [sealed]


def test_the_command_line_shows_the_time_in_utc(site, sealed, monkeypatch):
    monkeypatch.setenv("VMKEEP_REPOSITORY", site.repository)
    monkeypatch.setenv("VMKEEP_CATALOG", site.catalog)

    listed = CliRunner().invoke(cli, ["point", "list", "--json"], catch_exceptions=False)
    shown = CliRunner().invoke(cli, ["point", "show", "latest:web01"], catch_exceptions=False)

    assert [entry["ref"] for entry in json.loads(listed.output)] == [sealed]
    assert "2026-01-02 10:00:00 UTC" in shown.output


def test_a_point_to_come_is_named_in_utc_too():
    past = [PointFacts(ref="a", vm_key="a", taken_at=NOON_HERE)]

    expected = expected_points(past, now=NOON_HERE, until=NOON_HERE + timedelta(days=1))

    assert [it.ref for it in expected] == ["a/20260103T100000Z-expected"]


def test_a_point_that_an_older_program_named_in_its_zone_keeps_that_name(site, monkeypatch):
    with open_repository(site.repository) as repository:
        root, _ = store_file(repository, bytes(512), run="r")
        new = point(BackupKind.FULL, root=root)
        plain = to_plain(new) | {"taken_at": NOON_HERE.isoformat()}
        blob = "points/5021f3ab/20260102T120000Z-0123456789abcdef"
        text = json.dumps({"manifest": 1, "write_id": "0", "point": plain}).encode()
        repository.blobs.put(blob, repository.framer.wrap(Kind.MANIFEST, text, name=blob))

        found = repository.find_point("latest:web01")

        assert list(repository.point_refs()) == [found.ref] == ["5021f3ab/20260102T120000Z-0123456789abcdef"]
        assert found.taken_at == NOON_HERE
        assert repository.check(read_data=True) == []


@pytest.mark.parametrize("zone", [UTC, HERE, timezone(-timedelta(hours=11, minutes=30))])
def test_one_instant_has_one_stamp(zone):
    at = NOON_HERE.astimezone(zone)

    assert replace(point(), taken_at=at).stamp == stamp_of(at) == IN_UTC


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        ((), BackupKind.FULL),
        ((BackupKind.FULL, BackupKind.FULL), BackupKind.FULL),
        ((BackupKind.FULL, BackupKind.INCREMENTAL), BackupKind.INCREMENTAL),
        ((BackupKind.INCREMENTAL, BackupKind.INCREMENTAL), BackupKind.INCREMENTAL),
    ],
)
def test_a_point_is_full_only_if_every_disk_was_read_in_full(kinds, kind):
    made = point(*kinds)

    assert made.kind is kind
    assert from_plain(RestorePoint, to_plain(made) | {"kind": "full"}).kind is kind
