"""Points of hosts among those of VMs: each is found by its own words, and no command takes one for the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import store_file
from vmkeep.catalog import open_catalog
from vmkeep.errors import AmbiguousError, ConflictError, CorruptError, NotFoundError, UsageError
from vmkeep.flows import host_points, retention
from vmkeep.flows.copy_values import Verify
from vmkeep.flows.pointcopy import choose_points, copy_points
from vmkeep.flows.pointlist import list_points
from vmkeep.flows.pruning import execute_prune, plan_prune
from vmkeep.flows.windows import newest_points
from vmkeep.model.hostconfig import BUNDLE, HostRelease, host_key, is_host_key
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.point import BackupMode, Consistency, Power, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import create_repository, point_id
from vmkeep.repository.checks import Trouble
from vmkeep.retention import RetentionRule

UUID = "c78b4c28-9f12-5022-bfc8-2780ad006e59"
KEY = f"host-{UUID}"
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
ESX = VmIdentity(name="esx01", key=KEY, moref="host-11", vcenter="vc", server="vcenter.example.com")
VM = VmIdentity(name="esx01", key="5021f3ab", moref="vm-1", vcenter="vc", server="vcenter.example.com")
"""A VM on which ESXi runs: it has the name of the host."""
RELEASE = HostRelease(uuid=UUID, product="VMware ESXi 8.0.3 build-24022510", version="8.0.3", build="24022510")


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


def seal(repository, vm, taken_at, *, content=b"bundle", host=RELEASE):
    """Seal a point of a host, or without ``host`` one of a VM; return its ref."""
    run = f"run-{taken_at:%d%H%M}-{vm.key}"
    name = BUNDLE if host else "config.xml"
    root, size = store_file(repository, content, run=run)
    return repository.seal(
        RestorePoint(
            id=point_id(run, vm.key), vm=vm, taken_at=taken_at, run=run, mode_asked=BackupMode.ASIS,
            mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=Consistency.APPLICATION, images=(),
            attachments={name: root}, attachment_sizes={name: size}, power=Power.ON, host=host,
        )
    )  # fmt: skip


@pytest.fixture
def mixed(repository):
    """Two points of a host, and an older one of a VM of the same name: refs."""
    vm = seal(repository, VM, NOW - timedelta(days=3), host=None)
    return vm, seal(repository, ESX, NOW - timedelta(days=2)), seal(repository, ESX, NOW, content=b"newer bundle")


def test_the_newest_point_of_a_name_is_that_of_a_vm_and_never_that_of_a_host(repository, mixed):
    vm, _, newest = mixed

    assert [repository.find_point(text).ref for text in ("latest", "latest:esx01")] == [vm, vm]
    assert repository.find_point(f"latest:{KEY}").ref == newest
    assert repository.keys_of_vm("esx01") == [VM.key]


def test_a_list_of_points_shows_vms_alone_and_hosts_by_their_key(repository, mixed, tmp_path):
    vm, *of_host = mixed
    catalog = f"sqlite:///{tmp_path}/catalog.db"

    assert [entry.ref for entry in list_points(repository, catalog=catalog).entries] == [vm]
    assert [entry.ref for entry in list_points(repository, catalog=catalog, vm="esx01").entries] == [vm]
    assert [entry.ref for entry in list_points(repository, catalog=catalog, vm=KEY).entries] == of_host
    assert repository.stats().vms == 1


def test_no_vm_takes_a_host_s_point_for_its_newest(repository, mixed, tmp_path):
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as cache:
        cache.refresh(repository)
        origins = cache.origins(repository.id)

    class Record:
        moref, instance_uuid, bios_uuid = "vm-1", VM.key, None

    assert newest_points([Record()], origins, "vc")["vm-1"].ref == mixed[0]


@pytest.mark.parametrize("text", ["esx01", KEY, UUID, UUID.upper()])
def test_a_host_is_named_by_name_key_or_uuid_and_means_its_newest_point(repository, mixed, text):
    assert host_points.find_host_point(repository, text).ref == mixed[2]
    assert [point.ref for point in host_points.points_of(repository, text)] == list(mixed[1:])


def test_a_point_of_a_host_is_named_by_its_ref_and_a_vm_s_point_is_refused(repository, mixed):
    assert host_points.find_host_point(repository, mixed[1]).ref == mixed[1]
    with pytest.raises(UsageError, match="is a point of VM esx01"):
        host_points.find_host_point(repository, mixed[0])
    with pytest.raises(NotFoundError):
        host_points.find_host_point(repository, "esx99")


def test_hosts_are_listed_with_their_newest_point_and_their_number_of_points(repository, mixed):
    (host,) = host_points.list_hosts(repository)

    assert (host.key, host.points, host.newest.ref) == (KEY, 2, mixed[2])


def test_two_hosts_of_one_name_are_told_apart_by_their_keys(repository, mixed):
    other = replace(ESX, key="host-0000", moref="host-12")
    seal(repository, other, NOW)

    with pytest.raises(AmbiguousError, match=f"'esx01' names 2 hosts: name one by its key: host-0000, {KEY}"):
        host_points.find_host_point(repository, "esx01")
    assert host_points.find_host_point(repository, "host-0000").vm.moref == "host-12"


def test_an_export_replaces_no_file_unasked_and_leaves_nothing_half_written(repository, mixed, tmp_path):
    out = tmp_path / "out" / "esx01.tgz"
    with pytest.raises(NotFoundError, match="no such folder"):
        host_points.export(repository, "esx01", out, overwrite=False)
    out.parent.mkdir()
    out.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="--force"):
        host_points.export(repository, "esx01", out, overwrite=False)
    assert out.read_bytes() == b"mine"

    host_points.export(repository, "esx01", out, overwrite=True)

    assert out.read_bytes() == b"newer bundle"
    assert [path.name for path in out.parent.iterdir()] == ["esx01.tgz"]


def test_a_damaged_manifest_of_a_host_is_told_and_hides_no_other_host(repository, mixed, tmp_path):
    seal(repository, replace(ESX, key="host-0000", name="esx02", moref="host-12"), NOW)
    manifest = tmp_path / "repo" / "points" / mixed[2]
    manifest.chmod(0o600)
    manifest.write_bytes(b"x" * 100)

    damaged, whole = host_points.list_hosts(repository)

    assert (damaged.newest, whole.newest.vm.name) == (None, "esx02")
    assert "manifest is damaged" in damaged.problem
    assert [type(point) for point in host_points.points_of(repository, KEY)] == [RestorePoint, CorruptError]


def test_retention_keeps_each_host_s_points_like_those_of_a_vm(repository):
    refs = [seal(repository, ESX, NOW - timedelta(days=days)) for days in (4, 3, 2, 1)]
    other = seal(repository, replace(ESX, key="host-0000", moref="host-12"), NOW - timedelta(days=9))

    kept = retention.simulate(repository, RetentionRule(keep_daily=2), at=NOW, zone=UTC)

    assert [verdict.point.ref for verdict in kept.verdicts if verdict.keep] == [other, *refs[-2:]]


def test_a_prune_forgets_old_points_of_hosts_and_keeps_the_bundles_of_the_others(repository, mixed):
    vm, _, newest = mixed

    for _ in range(2):  # one condemns packs, and the next one deletes them
        plan = plan_prune(repository, RetentionRule(keep_last=1), grace=timedelta(), zone=UTC)
        execute_prune(repository, plan, catalog=None, on_progress=lambda _progress: None)

    assert sorted(repository.point_refs()) == sorted([vm, newest])
    assert repository.load_attachment(repository.load_point(newest), BUNDLE) == b"newer bundle"
    assert repository.check(read_data=True) == []


def test_a_copy_of_a_host_s_point_is_one_of_a_host(repository, mixed, tmp_path):
    target = create_repository(str(tmp_path / "second"))

    chosen = choose_points(repository, (), vm=None, latest=False)
    report = copy_points(repository, target, chosen, verify=Verify.ALL)

    assert sorted(chosen) == sorted(mixed)
    assert not report.failed
    copied = host_points.find_host_point(target, "esx01")
    assert (copied.ref, copied.host, target.load_attachment(copied, BUNDLE)) == (mixed[2], RELEASE, b"newer bundle")


def test_a_check_finds_a_bundle_that_is_lost(repository, mixed, tmp_path):
    assert repository.check(read_data=True) == []
    for pack in (tmp_path / "repo" / "packs").rglob("*"):
        if pack.is_file():
            pack.unlink()

    assert {finding.trouble for finding in repository.check()} >= {Trouble.MISSING, Trouble.POINT}


def test_equal_bundles_are_stored_once(repository):
    seal(repository, ESX, NOW - timedelta(days=1), content=bytes(range(256)) * 4096)
    before = repository.stats().pack_bytes
    seal(repository, ESX, NOW, content=bytes(range(256)) * 4096)

    assert repository.stats().pack_bytes - before < 4096


def test_a_program_that_knows_no_hosts_reads_such_a_point_as_one_of_a_vm_without_disks(repository, mixed):
    plain = to_plain(repository.load_point(mixed[2]))
    del plain["host"]

    read = from_plain(RestorePoint, plain)

    assert (read.ref, read.kind, read.was_running, read.disks) == (mixed[2], "full", True, ())
    assert from_plain(RestorePoint, {**to_plain(read), "a field of tomorrow": 1}) == read


def test_a_manifest_of_the_first_program_that_knew_hosts_is_read_for_good():
    """Written by hand, as that program wrote it; docs/format.md describes the fields."""
    plain = {
        "id": "21a5fb9a9681d23a", "taken_at": "2026-11-26T17:03:36Z", "run": "hosts/scheduled__1", "kind": "full",
        "vm": {"name": "esx01", "key": KEY, "moref": "host-11", "vcenter": "vc", "server": "vcenter.example.com"},
        "mode_asked": "ASIS", "mode_used": "ASIS", "quiesce_asked": "none", "consistency": "application",
        "images": [], "skipped": [], "warnings": [], "power": "on",
        "attachments": {"configBundle.tgz": "00" * 32}, "attachment_sizes": {"configBundle.tgz": 601},
        "host": {
            "uuid": UUID, "product": "VMware ESXi 8.0.3 build-24022510", "version": "8.0.3", "build": "24022510",
            "release": "VMware ESXi 8.0 Update 3",
        },
    }  # fmt: skip

    read = from_plain(RestorePoint, plain)

    assert (read.vm, read.host) == (ESX, replace(RELEASE, release="VMware ESXi 8.0 Update 3"))
    assert is_host_key(read.vm.key)


def test_a_key_is_that_of_a_host_or_of_a_vm():
    assert host_key(UUID.upper(), vcenter="vc", name="esx01") == KEY
    shared = {host_key(UUID, vcenter="vc", name=name, unique=False) for name in ("esx01", "esx02")}
    unknown = {host_key(None, vcenter=vcenter, name="esx01") for vcenter in ("vc", "other")}
    assert len(shared | unknown | {KEY}) == 5
    assert all(map(is_host_key, shared | unknown))
    assert not any(map(is_host_key, (UUID, "vm-16", "image-host-1")))
