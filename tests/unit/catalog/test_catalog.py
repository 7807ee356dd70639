"""The catalog is a cache: always level with the repository after a refresh, and never needed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, select

from vmkeep.catalog import inserting, open_catalog
from vmkeep.catalog.schema import DiskRow, PointRow
from vmkeep.errors import CatalogError, CorruptError
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity

START = datetime(2026, 1, 1, tzinfo=UTC)


def disk(key: int, skip: SkipReason | None = None) -> Disk:
    return Disk(
        key=key, label=f"Hard disk {key - 1999}", controller=ControllerKind.SCSI, controller_type="LsiLogic", bus=0,
        unit=key - 2000, capacity=1 << 30, backing="FlatVer2", file_name="[ds1] a/a.vmdk", skip=skip,
    )  # fmt: skip


def point(number: int, vm: str = "app01") -> RestorePoint:
    image = DiskImage(
        disk=disk(2000), root="aa" * 32, kind=BackupKind.FULL, reason="first", bytes_read=10, bytes_stored=5
    )
    return RestorePoint(
        id=f"{number:032x}", vm=VmIdentity(name=vm, key=f"key-{vm}"), taken_at=START + timedelta(hours=number),
        run=f"run-{number}", mode_asked=BackupMode.SNAPSHOT_EXCL_MEM,
        mode_used=BackupMode.SNAPSHOT_EXCL_MEM, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH,
        images=(image,), skipped=(disk(2001, SkipReason.PHYSICAL_RDM),),
    )  # fmt: skip


class Manifests:
    """A repository's manifests, held in a dict."""

    id = "repo"

    def __init__(self, *points: RestorePoint) -> None:
        self.held = {held.ref: held for held in points}
        self.damaged: set[str] = set()
        self.loaded = 0

    def point_refs(self, vm_key=None):
        return list(self.held)

    def load_points(self, refs):
        for ref in refs:
            self.loaded += 1
            damage = CorruptError(f"{ref}: manifest does not match its digest")
            yield ref, damage if ref in self.damaged else self.held[ref]


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(f"sqlite:///{tmp_path / 'new folder' / 'catalog.db'}") as opened:
        yield opened


def test_a_refresh_enters_what_is_new_and_reads_nothing_twice(catalog):
    manifests = Manifests(point(1), point(2))
    assert catalog.refresh(manifests).added == 2

    manifests.held[point(3).ref] = point(3)
    manifests.loaded = 0
    refreshed = catalog.refresh(manifests)

    assert (refreshed.added, refreshed.removed, refreshed.total, manifests.loaded) == (1, 0, 3, 1)
    assert [entry.ref for entry in catalog.points("repo")] == [point(number).ref for number in (1, 2, 3)]


def test_a_point_that_is_gone_from_the_repository_is_gone_from_the_catalog(catalog):
    manifests = Manifests(point(1), point(2))
    catalog.refresh(manifests)

    del manifests.held[point(1).ref]

    assert catalog.refresh(manifests).removed == 1
    assert [entry.id for entry in catalog.points("repo")] == [point(2).id]


def test_a_rebuild_gives_the_same_answers(catalog):
    manifests = Manifests(point(1), point(2, vm="web01"))
    catalog.refresh(manifests)
    before = catalog.points("repo")

    catalog.rebuild(manifests)

    assert catalog.points("repo") == before
    assert before[0].disks == 2
    assert before[0].skipped == 1
    assert before[0].taken_at.tzinfo is not None


def test_a_damaged_manifest_is_named_and_hides_no_other_point(catalog):
    manifests = Manifests(point(1), point(2))
    manifests.damaged.add(point(1).ref)

    refreshed = catalog.refresh(manifests)

    assert len(refreshed.damaged) == 1
    assert point(1).ref in refreshed.damaged[0]
    assert [entry.id for entry in catalog.points("repo")] == [point(2).id]


def test_points_are_found_by_the_vms_name_or_key(catalog):
    catalog.refresh(Manifests(point(1), point(2, vm="web01")))

    assert [entry.vm_name for entry in catalog.points("repo", vm="web01")] == ["web01"]
    assert [entry.vm_name for entry in catalog.points("repo", vm="key-app01")] == ["app01"]


def test_two_repositories_do_not_see_each_others_points(catalog):
    other = Manifests(point(1))
    other.id = "other"
    catalog.refresh(other)
    catalog.refresh(Manifests(point(2)))

    assert [entry.id for entry in catalog.points("other")] == [point(1).id]


def test_a_database_that_is_none_is_a_clear_error(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"not a database, but long enough to look at" * 40)

    with pytest.raises(CatalogError, match="catalog sqlite:"), open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}"):
        pass


def test_points_of_two_vms_with_one_name_and_key_tell_what_they_were_taken_of(catalog):
    here, there = (
        replace(
            point(number), vm=replace(point(number).vm, vcenter=vcenter, moref="vm-1", inventory_path="/DC/vm/app01")
        )
        for number, vcenter in ((1, "vc1"), (2, "vc2"))
    )

    catalog.refresh(Manifests(here, there))

    found = [(entry.ref, entry.vcenter, entry.moref, entry.inventory_path) for entry in catalog.points("repo")]
    assert found == [(here.ref, "vc1", "vm-1", "/DC/vm/app01"), (there.ref, "vc2", "vm-1", "/DC/vm/app01")]


def test_the_origins_of_points_tell_the_addresses_of_their_guests(catalog):
    vm = replace(point(1).vm, vcenter="vc1", moref="vm-1", addresses=("10.0.0.7", "fe80::1"), dns_name="app01.lab")
    catalog.refresh(Manifests(replace(point(1), vm=vm), point(2)))

    told = [(each.ref, each.moref, each.addresses, each.dns_name) for each in catalog.origins("repo")]
    assert told == [
        (point(1).ref, "vm-1", ("10.0.0.7", "fe80::1"), "app01.lab"),
        (point(2).ref, None, (), None),
    ]
    assert catalog.origins("another") == []


@pytest.mark.parametrize("name", ["app01 ", "APP01", " app01"])
def test_a_name_is_looked_for_as_it_is_typed(catalog, name):
    catalog.refresh(Manifests(point(1), point(2, vm=name)))

    assert [entry.vm_name for entry in catalog.points("repo", vm=name)] == [name]
    assert [entry.vm_name for entry in catalog.points("repo", vm="app01")] == ["app01"]


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


class DiesWhileReading(Manifests):
    """The process dies after some manifests were read."""

    def __init__(self, *points: RestorePoint, after: int) -> None:
        super().__init__(*points)
        self.after = after

    def load_points(self, refs):
        for ref, found in super().load_points(refs):
            if self.loaded > self.after:
                raise PowerCut
            yield ref, found


MANY = tuple(point(number) for number in range(1100))


@contextmanager
def counted(catalog, what):
    """Count an event of the database while the context lasts."""
    seen: list[object] = []

    def listener(*arguments):
        seen.append(arguments)

    event.listen(catalog._engine, what, listener)
    try:
        yield seen
    finally:
        event.remove(catalog._engine, what, listener)


def test_transactions_and_statements_grow_with_hundreds_of_points_and_not_with_each(catalog):
    with counted(catalog, "commit") as commits, counted(catalog, "before_cursor_execute") as statements:
        catalog.refresh(Manifests(*MANY))

    assert len(catalog.points("repo")) == len(MANY)
    assert len(commits) <= 3 + 3  # the questions, a batch for each 500, and two for the sums of all VMs
    assert len(statements) <= 1 + 3 * 4 + 6  # each batch asks whether there are sums, which are made at the end


def test_points_are_inserted_in_the_order_of_their_refs_so_that_two_writers_of_the_same_ones_never_deadlock(catalog):
    points = [point(number, vm) for number in (3, 1, 2) for vm in ("b", "a")]
    with counted(catalog, "before_cursor_execute") as statements:
        catalog.enter("repo", points)

    inserted = [rows for _, _, statement, rows, *_ in statements if statement.startswith("INSERT INTO vmkeep2_point ")]
    refs = [value for row in inserted[0] for value in row if value in {each.ref for each in points}]
    assert refs == sorted(each.ref for each in points)


def test_taking_points_out_takes_a_statement_for_hundreds_of_them(catalog):
    manifests = Manifests(*MANY)
    catalog.refresh(manifests)
    manifests.held = {ref: held for ref, held in manifests.held.items() if held.id == MANY[0].id}

    with counted(catalog, "before_cursor_execute") as statements:
        assert catalog.refresh(manifests).removed == len(MANY) - 1

    assert len(statements) <= 1 + 3 * 2 + 6  # the last are for the sums of all VMs
    assert [entry.id for entry in catalog.points("repo")] == [MANY[0].id]


def test_a_rebuild_that_was_killed_leaves_a_catalog_that_goes_on(catalog):
    catalog.refresh(Manifests(*MANY))
    with pytest.raises(PowerCut):
        catalog.rebuild(DiesWhileReading(*MANY, after=700))
    kept = len(catalog.points("repo"))

    manifests = Manifests(*MANY)
    refreshed = catalog.refresh(manifests)

    assert 0 < kept < 700
    assert (refreshed.added, manifests.loaded) == (len(MANY) - kept, len(MANY) - kept)
    assert {entry.ref for entry in catalog.points("repo")} == manifests.held.keys()


@pytest.mark.parametrize("knows_how", [True, False])
def test_points_that_another_process_enters_meanwhile_keep_no_other_out(catalog, monkeypatch, knows_how):
    if not knows_how:  # as of the kinds of database that have no such statement
        monkeypatch.setattr(inserting, "unless_there", lambda _connection, table: insert(table))

    class Busy(Manifests):
        def load_points(self, refs):
            for number in (1, 3):
                catalog.record("repo", point(number))
            yield from super().load_points(refs)

    refreshed = catalog.refresh(Busy(*(point(number) for number in range(5))))

    assert refreshed.damaged == ()
    assert [(entry.id, entry.disks) for entry in catalog.points("repo")] == [(point(n).id, 2) for n in range(5)]


def test_a_point_that_a_backup_seals_and_enters_during_a_refresh_stays_in_the_catalog(catalog):
    class Busy(Manifests):
        def point_refs(self, vm_key=None):
            listed = super().point_refs(vm_key)
            new = point(len(listed))
            self.held[new.ref] = new
            catalog.record("repo", new)
            return listed

    manifests = Busy(point(0))
    for _ in range(2):
        assert catalog.refresh(manifests).removed == 0
        assert {entry.ref for entry in catalog.points("repo")} == manifests.held.keys()


def test_a_point_takes_less_than_a_kilobyte_in_sqlite(tmp_path):
    key = "5029ab12-0000-4000-8000-000000000001"
    alike = [replace(each, id=each.id[-16:], vm=replace(each.vm, key=key)) for each in MANY]
    held = Manifests(*(replace(each, skipped=()) for each in alike))
    held.id = "697d61cc-31ac-4fe0-811a-22b8e5b05dd0"
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        empty = (tmp_path / "catalog.db").stat().st_size
        catalog.refresh(held)

    assert ((tmp_path / "catalog.db").stat().st_size - empty) / len(MANY) < 1000


def test_a_point_that_gets_the_number_of_a_deleted_one_has_its_own_disks_alone(tmp_path):
    """SQLite gives the number of the newest point again, and takes nothing out behind it."""
    manifests = Manifests(point(1), point(2))
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        catalog.refresh(manifests)
        del manifests.held[point(2).ref]
        catalog.refresh(manifests)
        bare = replace(point(3), images=(), skipped=())
        manifests.held[bare.ref] = bare
        catalog.refresh(manifests)

        assert {entry.ref: entry.disks for entry in catalog.points("repo")} == {point(1).ref: 2, bare.ref: 0}
        with catalog._session() as session:
            with_disks = select(PointRow.ref).join(DiskRow, DiskRow.point == PointRow.number)
            assert set(session.scalars(with_disks)) == {point(1).ref}
