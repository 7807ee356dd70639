"""Opening, sealing, finding, attachments: the repository as its callers see it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from tests.sealed import store_file
from vmkeep.errors import (
    AmbiguousError,
    ConflictError,
    CorruptError,
    NotFoundError,
    RepositoryError,
    StoreError,
    UsageError,
)
from vmkeep.model.point import VmIdentity
from vmkeep.model.selector import shown_name
from vmkeep.repository import Repository, create_repository, open_repository, point_id
from vmkeep.repository.points.pointnames import PointName, safe_name
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore, MemoryStore


def edit(folder, **fields):
    path = folder / "vmkeep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_created_repository_can_be_opened(tmp_path):
    made = create_repository(str(tmp_path / "repo"), block_size=1 << 20, compression="lz4")

    with open_repository(f"file://{tmp_path}/repo") as opened:
        assert (opened.id, opened.block_size) == (made.id, 1 << 20)


def test_a_repository_is_never_created_twice(tmp_path):
    made = create_repository(str(tmp_path))

    with pytest.raises(RepositoryError, match="is a repository already"):
        create_repository(str(tmp_path))
    assert open_repository(str(tmp_path)).id == made.id


@pytest.mark.parametrize("size", [0, 1 << 15, 100_000, 1 << 23, -65536])
def test_block_sizes_that_the_format_does_not_have_are_refused(tmp_path, size):
    with pytest.raises(UsageError, match="power of two"):
        create_repository(str(tmp_path), block_size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_repository_is_named(tmp_path):
    with pytest.raises(RepositoryError, match=r"not a vmkeep repository.*repo init"):
        open_repository(str(tmp_path))


def test_a_newer_format_is_refused_before_anything_else_is_read(tmp_path):
    create_repository(str(tmp_path))
    edit(tmp_path, version=2, block_size="of a kind that we cannot know")

    with pytest.raises(RepositoryError, match=r"format 2.*newer vmkeep"):
        open_repository(str(tmp_path))


@pytest.mark.parametrize(
    "fields", [{"encryption": {"cipher": "rot13"}}, {"encryption": []}, {"key_slots": [1]}, {"digest": "md5"}]
)
def test_an_encryption_that_this_version_does_not_know_is_refused(fields):
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=65536, compression="zstd"))
    plain = json.loads(store.get("vmkeep.json")) | fields
    plain.pop("check")
    check = blake3(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    store.replace("vmkeep.json", json.dumps({**plain, "check": check}).encode())

    with pytest.raises(RepositoryError, match="does not know"):
        descriptor.load(store)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "something else"}', "[" * 100_000])
def test_another_vmkeep_json_is_no_repository(tmp_path, text):
    (tmp_path / "vmkeep.json").write_text(text)

    with pytest.raises((RepositoryError, CorruptError), match=r"vmkeep\.json"):
        open_repository(str(tmp_path))


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_bit_of_the_descriptor_matters(at, bit):
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=65536, compression="zstd"))
    good = descriptor.load(store)
    text = bytearray(store.get("vmkeep.json"))
    text[at % len(text)] ^= 1 << bit
    store.replace("vmkeep.json", text)
    try:
        assert descriptor.load(store) == good  # white space
    except (RepositoryError, CorruptError):
        pass


def test_a_repository_that_cannot_be_written_to_is_told_before_a_copy_starts(make):
    faulty = FaultyStore(MemoryStore())
    repository = make(faulty)
    faulty.fail("check_writable", with_=StoreError("Read-only file system"))

    with pytest.raises(RepositoryError, match=r"cannot be written to for run nightly.*Read-only"):
        repository.open_writer(run="nightly")


def test_a_sealed_point_is_found_again(repository, point):
    root, _ = store_file(repository, b"disk" * 1000, run="r")
    sealed = point(root)

    ref = repository.seal(sealed)

    assert ref == sealed.ref == "5021-ab/20260504T030201Z-0123456789abcdef"
    assert repository.load_point(ref) == sealed
    assert list(repository.points()) == list(repository.points("5021-ab")) == [sealed]
    assert repository.latest_point("5021-ab") == sealed
    assert repository.latest_point("another") is None


def test_sealing_again_in_the_same_run_finds_the_point_that_stands(repository, point):
    first = repository.seal(point())
    later = point(taken_at=point().taken_at + timedelta(hours=1))
    other_id = point(id="f" * 16)

    assert repository.seal(point()) == repository.seal(later) == repository.seal(other_id) == first
    assert len(list(repository.points())) == 1


def test_another_runs_point_is_never_overwritten(repository, point):
    repository.seal(point())

    with pytest.raises(ConflictError, match="another run"):
        repository.seal(point(run="run/2"))
    assert next(repository.points()).run == "run/1"


def test_a_point_whose_map_is_not_there_cannot_be_sealed(repository, point):
    with pytest.raises(CorruptError, match=r"web: 'Hard disk 1' cannot be sealed.*not in the index"):
        repository.seal(point("ab" * 32))
    with pytest.raises(CorruptError, match="not the digest of a map"):
        repository.seal(point("nonsense"))
    assert list(repository.points()) == []


def several(repository, point):
    start = point().taken_at
    for number, (name, key) in enumerate([("web", "k-web"), ("db", "k-db"), ("web", "k-web")]):
        vm = VmIdentity(name=name, key=key)
        at = start + timedelta(minutes=number)
        repository.seal(point(vm=vm, taken_at=at, run=f"r{number}", id=f"{number}a{'0' * 14}"))


def test_a_point_is_found_by_ref_beginning_or_latest(repository, point):
    several(repository, point)
    find = repository.find_point

    assert find("k-db/20260504T030301Z-1a00000000000000").run == "r1"
    assert find("1a").run == find("k-db/").run == find("latest:db").run == find("latest:k-db").run == "r1"
    assert find("latest").run == find("latest:web").run == "r2"


def test_points_of_the_same_second_are_told_apart_by_their_time(repository, point):
    start = point().taken_at
    for number in (2, 9, 4):
        at = start + timedelta(microseconds=number)
        repository.seal(point(taken_at=at, run=f"r{number}", id=f"{9 - number}" * 16))

    assert repository.latest_point("5021-ab").run == repository.find_point("latest:web").run == "r9"


@pytest.mark.parametrize("text", ["nothing", "latest:nobody", "", "k-db/x"])
def test_an_unknown_point_is_named(repository, point, text):
    several(repository, point)

    with pytest.raises(NotFoundError, match="no restore point"):
        repository.find_point(text)


def test_latest_of_an_empty_name_is_refused_because_a_script_lost_the_name(repository, point):
    several(repository, point)

    with pytest.raises(UsageError, match="latest:VM"):
        repository.find_point("latest:")


def test_a_beginning_that_fits_several_points_lists_them(repository, point):
    several(repository, point)

    with pytest.raises(AmbiguousError, match="k-web/20260504T030201Z-0a"):
        repository.find_point("k-web")


ODD_NAMES = (
    "web01 ", "a:b@c", "latest", "latest:web", "-x", "name:db", "moref:vm-1", "a%2fb", "/x", '"x"', "日本", "a\tb",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_latest_takes_a_name_as_it_is_listed(repository, point, name):
    several(repository, point)
    repository.seal(point(vm=VmIdentity(name=name, key="k-odd"), run="odd"))

    for text in (name, shown_name(name), f"name:{name}"):
        if (name, text) != ("name:db", "name:db"):
            assert repository.find_point(f"latest:{text}").run == "odd"
            assert repository.keys_of_vm(text) == ["k-odd"]


def test_latest_asks_which_vm_where_one_is_called_like_the_selector_of_another(repository, point):
    several(repository, point)
    repository.seal(point(vm=VmIdentity(name="name:db", key="k-odd"), run="odd"))

    with pytest.raises(AmbiguousError, match="k-db, k-odd"):
        repository.find_point("latest:name:db")


def test_latest_takes_the_inventory_path_of_a_vm(repository, point):
    for key, folder in (("k1", "Test"), ("k2", "a%2fb")):
        vm = VmIdentity(name="twin", key=key, inventory_path=f"/Lab/vm/{folder}/twin")
        repository.seal(point(vm=vm, run=key))

    for path in ("/Lab/vm/Test/twin", "/Lab/Test/twin"):
        assert repository.find_point(f"latest:{path}").run == "k1"
    assert repository.find_point("latest:name:/Lab/vm/a%2Fb/twin").run == "k2"
    for path in ("/Lab/vm/test/twin", "/Lab/vm/a/b/twin", "/Lab/vm/Test/twin/", "/Test/twin", "/Lab/vm/vm/Test/twin"):
        with pytest.raises(NotFoundError):
            repository.find_point(f"latest:{path}")


def test_latest_of_a_name_that_two_vms_have_asks_for_the_key(repository, point):
    for key in ("k1", "k2"):
        repository.seal(point(vm=VmIdentity(name="web", key=key), run=key))

    with pytest.raises(AmbiguousError, match="latest:<key> with one of k1, k2"):
        repository.find_point("latest:web")
    assert repository.find_point("latest:k2").run == "k2"


@pytest.mark.parametrize("ref", ["", "x", "x/y", "vm/20260504T030201Z-0", "../../etc/passwd-x"])
def test_loading_what_is_no_ref_is_not_found(repository, ref):
    with pytest.raises(NotFoundError):
        repository.load_point(ref)


def test_a_manifest_under_another_points_name_is_refused(repository, point):
    ref = repository.seal(point())
    store = repository.blobs
    store.put("points/5021-ab/20260601T000000Z-0123456789abcdef", store.get(f"points/{ref}"))

    with pytest.raises(CorruptError, match="swapped"):
        repository.latest_point("5021-ab")


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_bit_of_a_manifest_matters(at, bit):
    from vmkeep.repository.frames.codecs import Codec
    from vmkeep.repository.frames.digests import Kind
    from vmkeep.repository.frames.frames import Framer
    from vmkeep.repository.points.manifests import Manifests

    store, framer = MemoryStore(), Framer(codec=Codec.ZSTD)
    blob = bytearray(framer.wrap(Kind.MANIFEST, b'{"manifest": 1}', name="points/a/b-c"))
    blob[at % len(blob)] ^= 1 << bit
    store.put("points/a/b-c", blob)

    with pytest.raises(CorruptError, match="restore point a/b-c"):
        Manifests(store, framer).load("points/a/b-c")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"manifest": 2}', b'{"manifest": 1, "point": {}}', b"[" * 9999]
)
def test_a_well_kept_manifest_that_says_nonsense_is_corrupt(repository, content):
    from vmkeep.repository.frames.digests import Kind

    repository.blobs.put("points/a/b-c", repository.framer.wrap(Kind.MANIFEST, content, name="points/a/b-c"))

    with pytest.raises(CorruptError, match="restore point a/b-c"):
        list(repository.points())


@given(st.binary(max_size=300_000) | st.integers(0, 300_000).map(bytes))
def test_an_attachment_comes_back_as_it_was(content):
    store = MemoryStore()
    made = descriptor.new_descriptor(block_size=65536, compression="zstd")
    descriptor.create(store, made)
    repository = Repository(store, made)
    root, size = store_file(repository, content, run="r")

    from vmkeep.repository.maps.attachments import read_content

    assert size == len(content)
    assert read_content(repository.open_map(root), repository.open_blocks()) == content


def test_an_unknown_attachment_is_named_with_those_there_are(repository, point):
    stored = repository.store_attachments({"vm.vmx": b"x" * 10, "vm.nvram": b""}, run="r")
    attachments = {name: root for name, (root, _) in stored.items()}
    sealed = point(attachments=attachments)
    repository.seal(sealed)

    assert repository.load_attachment(sealed, "vm.vmx") == b"x" * 10
    assert repository.load_attachment(sealed, "vm.nvram") == b""
    with pytest.raises(NotFoundError, match=r"no 'config.xml'; it has vm.nvram, vm.vmx"):
        repository.load_attachment(sealed, "config.xml")


def test_statistics_count_what_is_there(repository, point):
    repository.seal(point(store_file(repository, b"x" * 100_000, run="r")[0]))
    repository.run("r").store("note", b"x")

    stats = repository.stats()

    assert (stats.points, stats.vms, stats.index_segments, stats.run_blobs) == (1, 1, 1, 2)
    assert stats.packs == 2
    assert stats.blocks == 4  # two blocks (the tail is shorter), their page, the root


@given(st.text(max_size=300))
def test_any_text_becomes_one_part_of_a_key(text):
    MemoryStore().put(f"runs/{safe_name(text)}/x", b"")


@given(st.lists(st.text(max_size=200), min_size=2, max_size=2, unique=True))
def test_different_texts_become_different_keys(pair):
    assert safe_name(pair[0]) != safe_name(pair[1])


def test_retries_of_a_run_share_one_point_id():
    assert point_id("run/1", "vm") == point_id("run/1", "vm")
    assert len({point_id("run/1", "vm"), point_id("run/2", "vm"), point_id("run/1", "vm2")}) == 3
    assert PointName("vm", "s", point_id("r", "v"), "").ref.startswith("vm/s-")


def taken_of(repository, point, *vms):
    """Seal one point per minute of VMs that share a key, given as ``vCenter/moref``."""
    for number, where in enumerate(vms):
        vcenter, moref = where.split("/")
        vm = VmIdentity(name="web", key="5021-ab", instance_uuid="5021-ab", moref=moref, vcenter=vcenter or None)
        at = point().taken_at + timedelta(minutes=number)
        repository.seal(point(vm=vm, taken_at=at, run=f"r{number}", id=f"{number:x}" * 16))


def test_points_that_tell_no_vcenter_are_of_the_vm_before_them(repository, point):
    """Older programs told none of an ESXi host."""
    taken_of(repository, point, "/vm-1", "/vm-1", "host1/vm-1", "/vm-1", "host1/vm-1")

    assert repository.find_point("latest:web").run == "r4"
    assert len(repository.latest_refs("5021-ab")) == 1


@pytest.mark.parametrize(
    "vms",
    [
        ("vc1/vm-1", "vc2/vm-1"),  # a storage-level copy, or the VM after a move
        ("vc1/vm-1", "vc2/vm-9"),
        ("vc2/vm-1", "vc1/vm-1", "vc1/vm-1"),
        ("vc1/vm-1", "vc1/vm-2", "vc1/vm-1"),  # both are there, and take turns
    ],
)
@pytest.mark.parametrize("text", ["latest:web", "latest:5021-ab"])
def test_the_latest_of_two_vms_in_one_history_has_to_be_chosen_by_a_person(repository, point, vms, text):
    taken_of(repository, point, *vms)

    with pytest.raises(AmbiguousError) as caught:
        repository.find_point(text)

    for found in {(read.vm.vcenter, read.vm.moref): read for read in repository.points()}.values():
        assert found.ref in str(caught.value)
        assert found.vm.in_full in str(caught.value)
    assert len(repository.latest_refs("5021-ab")) == 2


def test_the_latest_of_a_vm_that_was_registered_anew_in_its_vcenter_is_found(repository, point):
    taken_of(repository, point, "vc1/vm-1", "vc1/vm-1", "vc1/vm-7")

    assert repository.find_point("latest:web").run == "r2"
    assert repository.latest_refs("5021-ab") == [repository.find_point("latest:web").ref]


def test_points_of_two_vms_in_one_second_and_run_are_not_confused(repository, point):
    first, second = (
        point(vm=VmIdentity(name="web", key="5021-ab", moref="vm-1", vcenter=vcenter), run="r", id=id_ * 16)
        for vcenter, id_ in (("vc1", "a"), ("vc2", "b"))
    )

    assert repository.seal(first) != repository.seal(second)
    assert repository.load_point(second.ref).vm.vcenter == "vc2"


def test_the_beginning_of_a_key_names_no_point_because_it_may_be_another_vms_name(repository, point):
    repository.seal(point(vm=VmIdentity(name="web 2", key="image-web-2")))

    with pytest.raises(NotFoundError):
        repository.find_point("image-web")
    assert repository.find_point("image-web-2").vm.name == repository.find_point("image-web-2/").vm.name == "web 2"
