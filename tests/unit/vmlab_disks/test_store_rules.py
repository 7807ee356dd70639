"""Promises of DiskStore beyond reading back what was written."""

import gc
import io
import os
from pathlib import Path

import pytest

from vmlab.disks import DiskError, DiskStore, UnknownChangeIdError

MIB = 1 << 20
BASE, CHILD, GRANDCHILD = "[ds] vm/a.vmdk", "[ds] vm/a-000001.vmdk", "[ds] vm/a-000002.vmdk"


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "datastores")


def code_of(caught: pytest.ExceptionInfo[DiskError]) -> int:
    return caught.value.code


@pytest.mark.parametrize(
    "name", ["a.vmdk", "[ds]", "[ds] ../a.vmdk", "[ds] a//b.vmdk", "[..] a.vmdk", "[a/b] c", "[ds] a\0b"]
)
def test_a_name_that_leads_out_of_its_datastore_is_refused(store: DiskStore, name: str) -> None:
    with pytest.raises(DiskError) as caught:
        store.path(name)
    assert code_of(caught) == 22


def test_names_and_files_convert_both_ways(store: DiskStore) -> None:
    assert store.ds_path(store.path("[nfs 1] dir/b c.vmdk")) == "[nfs 1] dir/b c.vmdk"
    assert store.path("[ds]a.vmdk") == store.root / "ds" / "a.vmdk"


def test_a_base_written_to_under_a_child_makes_the_child_unopenable(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    with store.open(BASE, writable=True) as disk:
        disk.write(0, b"x")
    with pytest.raises(DiskError) as caught:
        store.open(CHILD)
    assert code_of(caught) == 16008
    with pytest.raises(DiskError) as caught:
        store.consolidate(CHILD)
    assert code_of(caught) == 16008


def test_opening_for_writing_without_writing_keeps_the_content_id(store: DiskStore) -> None:
    before = store.create(BASE, MIB).content_id
    with store.open(BASE, writable=True):
        pass
    assert store.info(BASE).content_id == before
    with store.open(BASE, writable=True) as disk:
        disk.write(0, b"x")
    assert store.info(BASE).content_id != before


def test_a_disk_has_one_writer_and_any_number_of_readers(store: DiskStore) -> None:
    store.create(BASE, MIB)
    with store.open(BASE, writable=True), store.open(BASE), store.open(BASE):
        with pytest.raises(DiskError) as caught:
            store.open(BASE, writable=True)
        assert code_of(caught) == 15


def test_the_frozen_parent_has_readers_while_the_child_is_written(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    with store.open(BASE) as frozen, store.open(CHILD, writable=True) as disk:
        disk.write(5, b"new")
        assert frozen.read(5, 3) == b"\0\0\0"
        with store.open(CHILD) as other:
            assert other.read(5, 3) == b"new"


def test_a_reader_sees_what_a_writer_adds_to_a_delta_while_both_are_open(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    with store.open(CHILD) as reader, store.open(CHILD, writable=True) as writer:
        for at in range(0, MIB, 100_000):
            writer.write(at, b"data")
            assert reader.read(at, 4) == b"data"


def test_a_read_only_handle_refuses_writes(store: DiskStore) -> None:
    store.create(BASE, MIB)
    with store.open(BASE) as disk, pytest.raises(DiskError) as caught:
        disk.write(0, b"x")
    assert code_of(caught) == 11


def test_ranges_beyond_the_end_are_refused(store: DiskStore) -> None:
    store.create(BASE, MIB)
    with store.open(BASE, writable=True) as disk:
        for offset, length in [(MIB, 1), (MIB - 1, 2), (-1, 1), (0, MIB + 1)]:
            with pytest.raises(DiskError) as caught:
                disk.read(offset, length)
            assert code_of(caught) == 16007
        assert disk.read(MIB, 0) == b""


def test_a_missing_parent_is_a_partial_chain(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    store.path(BASE).unlink()
    with pytest.raises(DiskError) as caught:
        store.open(CHILD)
    assert code_of(caught) == 16003


def test_a_chain_that_leads_back_to_itself_is_refused(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    store.create_child(CHILD, GRANDCHILD)
    store.reparent(CHILD, GRANDCHILD)
    with pytest.raises(DiskError) as caught:
        store.open(GRANDCHILD)
    assert code_of(caught) == 16030


def test_a_consolidation_that_was_cut_can_be_repeated(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    with store.open(CHILD, writable=True) as disk:
        disk.write(1000, b"kept")
    files = [store.path(name) for name in store.info(CHILD).files]
    saved = {path: path.read_bytes() for path in files}
    store.consolidate(CHILD)
    for path, data in saved.items():  # as if the power went just before the link's files were removed
        path.write_bytes(data)
    store.consolidate(CHILD)
    with store.open(BASE) as disk:
        assert disk.read(1000, 4) == b"kept"
    assert not any(path.exists() for path in files)


def test_deleting_a_raw_map_leaves_the_lun(store: DiskStore, tmp_path: Path) -> None:
    lun = tmp_path / "lun.img"
    lun.write_bytes(b"L" * MIB)
    info = store.create_rdm(BASE, lun, MIB, physical=True)
    assert info.create_type == "vmfsPassthroughRawDeviceMap"
    with store.open(BASE) as disk:
        assert disk.read(MIB - 4, 4) == b"LLLL"
    with pytest.raises(DiskError) as caught:
        store.create_child(BASE, CHILD)
    assert code_of(caught) == 6
    store.delete(BASE)
    assert lun.exists()
    assert not store.path(BASE).exists()


def test_a_virtual_raw_map_takes_snapshots(store: DiskStore, tmp_path: Path) -> None:
    lun = tmp_path / "lun.img"
    lun.write_bytes(b"L" * MIB)
    store.create_rdm(BASE, lun, MIB, physical=False)
    store.create_child(BASE, CHILD)
    with store.open(CHILD, writable=True) as disk:
        disk.write(0, b"new")
    assert lun.read_bytes() == b"L" * MIB
    store.consolidate(CHILD)
    assert lun.read_bytes()[:4] == b"newL"


def test_a_raw_image_becomes_a_thin_disk_of_the_same_bytes(store: DiskStore, tmp_path: Path) -> None:
    raw = tmp_path / "x.raw"
    with raw.open("wb") as file:
        file.truncate(9 * MIB + 100)
        for at in (0, 5 * MIB + 3, 9 * MIB + 90):
            file.seek(at)
            file.write(os.urandom(10))
    from_file = store.create_from_raw(BASE, raw)
    from_stream = store.create_from_raw(CHILD, io.BytesIO(raw.read_bytes()), capacity=16 * MIB)
    assert (from_file.capacity, from_stream.capacity) == (9 * MIB + 512, 16 * MIB)
    assert max(from_file.size_on_disk, from_stream.size_on_disk) < MIB
    for name in (BASE, CHILD):
        with store.open(name) as disk:
            assert disk.read(0, 9 * MIB + 100) == raw.read_bytes()


def test_all_links_share_the_disks_uuid(store: DiskStore) -> None:
    base = store.create(BASE, MIB, uuid="6000C290-1111-2222-3333-444455556666")
    child = store.create_child(BASE, CHILD)
    assert base.uuid == child.uuid == "6000C290-1111-2222-3333-444455556666"
    assert store.chain(CHILD) == [CHILD, BASE]


def test_extending_keeps_the_bytes_and_ends_the_tracking_life(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.enable_tracking(BASE)
    with store.open(BASE, writable=True) as disk:
        disk.write(MIB - 3, b"end")
    before = store.info(BASE).change_id
    assert before
    store.extend(BASE, 3 * MIB)
    with store.open(BASE, writable=True) as disk:
        assert disk.read(MIB - 3, 5) == b"end\0\0"
        disk.write(3 * MIB - 1, b"z")
    assert store.info(BASE).capacity == 3 * MIB
    with pytest.raises(UnknownChangeIdError):
        store.changed_areas(BASE, before, 0)
    store.create_child(BASE, CHILD)
    with pytest.raises(DiskError) as caught:
        store.extend(CHILD, 4 * MIB)
    assert code_of(caught) == 6


def test_tracking_enabled_anew_knows_nothing_of_its_past(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.enable_tracking(BASE)
    first = store.info(BASE).change_id
    store.enable_tracking(BASE)
    assert store.info(BASE).change_id == first
    store.disable_tracking(BASE)
    with pytest.raises(UnknownChangeIdError):
        store.changed_areas(BASE, first or "", 0)
    store.enable_tracking(BASE)
    with pytest.raises(UnknownChangeIdError):
        store.changed_areas(BASE, first or "", 0)


@pytest.mark.parametrize("change_id", ["", "*/1", "x/1", "{uuid}/99", "{uuid}/-1", "{uuid}/", "{uuid}/1/1", "{uuid}/٣"])
def test_a_change_id_that_means_nothing_here_is_an_error(store: DiskStore, change_id: str) -> None:
    store.create(BASE, MIB)
    store.enable_tracking(BASE)
    uuid = (store.info(BASE).change_id or "").rpartition("/")[0]
    with pytest.raises(UnknownChangeIdError):
        store.changed_areas(BASE, change_id.replace("{uuid}", uuid), 0)


def test_changed_areas_start_where_asked_and_end_at_the_capacity(store: DiskStore) -> None:
    store.create(BASE, MIB + 512)
    store.enable_tracking(BASE)
    store.create_child(BASE, CHILD)
    since = store.info(BASE).change_id or ""
    with store.open(CHILD, writable=True) as disk:
        disk.write(0, bytes(200_000))
        disk.write(MIB + 10, b"x")
    assert store.changed_areas(CHILD, since, 0) == [(0, 262144), (MIB, 512)]
    assert store.changed_areas(CHILD, since, 100_000) == [(100_000, 162_144), (MIB, 512)]
    assert store.changed_areas(CHILD, since, MIB + 512) == []


def test_the_star_asks_for_what_is_allocated(store: DiskStore) -> None:
    store.create(BASE, 4 * MIB)
    with store.open(BASE, writable=True) as disk:
        disk.write(MIB, b"x" * MIB)
    assert store.changed_areas(BASE, "*", 0) == [(MIB, MIB)]
    assert store.changed_areas(BASE, "*", MIB + 1) == [(MIB + 1, MIB - 1)]


def test_a_disk_that_exists_is_not_made_again(store: DiskStore) -> None:
    store.create(BASE, MIB)
    with pytest.raises(DiskError) as caught:
        store.create(BASE, MIB)
    assert code_of(caught) == 12
    with pytest.raises(DiskError):
        store.create("[ds] vm/odd.vmdk", 1000)


def test_a_middle_link_can_be_merged_away_and_the_rest_still_reads(store: DiskStore) -> None:
    store.create(BASE, MIB)
    store.create_child(BASE, CHILD)
    with store.open(CHILD, writable=True) as disk:
        disk.write(0, b"one")
    store.create_child(CHILD, GRANDCHILD)
    with store.open(GRANDCHILD, writable=True) as disk:
        disk.write(600, b"two")
    store.consolidate(CHILD)
    assert store.info(GRANDCHILD).parent == BASE
    store.reparent(GRANDCHILD, BASE)
    with store.open(GRANDCHILD) as disk:
        assert (disk.read(0, 3), disk.read(600, 3)) == (b"one", b"two")


@pytest.mark.parametrize("damage", [b"", b"VMLABCTK", b"x" * 5000, b"VMLABCTK\1\0\0\0\0\0\1\0" + b"\xff" * 24])
def test_a_damaged_tracking_file_is_an_error_for_all_who_need_it(store: DiskStore, damage: bytes) -> None:
    store.create(BASE, MIB)
    store.enable_tracking(BASE)
    change_id = store.info(BASE).change_id or ""
    track = store.path(BASE).with_name("a-ctk.vmdk")
    track.write_bytes(damage)
    for use in (
        lambda: store.info(BASE),
        lambda: store.changed_areas(BASE, change_id, 0),
        lambda: store.open(BASE, writable=True),
    ):
        with pytest.raises(DiskError) as caught:
            use()
        assert code_of(caught) == 16000
    with store.open(BASE) as disk:
        assert disk.read(0, 1) == b"\0"


def test_a_closed_handle_is_an_error_and_a_dropped_one_gives_its_lock_back(store: DiskStore) -> None:
    store.create(BASE, MIB)
    disk = store.open(BASE, writable=True)
    disk.close()
    disk.close()
    with pytest.raises(ValueError, match="closed"):
        disk.read(0, 1)
    dropped = store.open(BASE, writable=True)
    assert dropped.capacity == MIB
    del dropped
    gc.collect()
    store.open(BASE, writable=True).close()


def test_the_delta_of_a_disk_over_2_tib_keeps_sparse_changes_everywhere_and_is_merged(store: DiskStore) -> None:
    tib = 1 << 40
    places = (0, tib - 512, 2 * tib - 512, 2 * tib + 3 * MIB, 3 * tib - 512)
    store.create(BASE, 3 * tib)
    store.create_child(BASE, CHILD)
    with store.open(CHILD, writable=True) as disk:
        for number, at in enumerate(places, 1):
            disk.write(at, bytes([number]) * (512 if at == places[-1] else 1024))
    assert store.info(CHILD).size_on_disk < 8 * MIB

    store.create_child(CHILD, GRANDCHILD)
    store.consolidate(GRANDCHILD)
    store.consolidate(CHILD)

    with store.open(BASE) as disk:
        assert [disk.read(at, 512)[0] for at in places] == [1, 2, 3, 4, 5]
        assert disk.read(places[1] + 512, 512) == b"\2" * 512
    assert sorted(path.name for path in store.path(BASE).parent.iterdir()) == ["a-flat.vmdk", "a.vmdk"]
