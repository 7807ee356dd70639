"""A descriptor that somebody put in the place of the right one is refused before anything is read or stored."""

from __future__ import annotations

import json

import pytest

from tests.sealed import CHEAP, PASSPHRASE, store_file
from vmkeep.errors import CorruptError
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.opening import create_encrypted_in, open_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import MemoryStore


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(slots, "COST", CHEAP)


def made():
    return descriptor.new_descriptor(block_size=65536, compression="none")


def encrypted(*, data=True):
    store = MemoryStore()
    repository = create_encrypted_in(store, made(), passphrase=PASSPHRASE).repository
    if data:
        store_file(repository, b"secret", run="run")
    return store


def plain(*, data=True, identity=None):
    store = MemoryStore()
    descriptor.create(store, made())
    if identity is not None:
        fields = json.loads(store.get("vmkeep.json")) | {"id": identity}
        fields.pop("check")
        store.replace("vmkeep.json", json.dumps({**fields, "check": descriptor._check(fields)}).encode())
    if data:
        store_file(open_in(store), b"content", run="run")
    return store


def swap(store, other):
    store.replace("vmkeep.json", other.get("vmkeep.json"))
    return {blob.key: store.get(blob.key) for blob in store.list("")}


@pytest.mark.parametrize("same_id", [True, False], ids=["same id", "another id"])
@pytest.mark.parametrize("data", [True, False], ids=["with data", "still empty"])
@pytest.mark.parametrize("slots_too", [True, False], ids=["slots there", "slots removed"])
def test_a_plain_descriptor_in_place_of_an_encrypted_one_is_refused(same_id, data, slots_too):
    """As those open the repository for whom a key service does it, and Airflow's workers with them."""
    store = encrypted(data=data)
    if not (slots_too or data):
        pytest.skip("nothing is left by which anybody could tell")
    identity = json.loads(store.get("vmkeep.json"))["id"]
    if not slots_too:
        for blob in list(store.list("keys/")):
            store.delete(blob.key)
    before = swap(store, plain(data=False, identity=identity if same_id else None))

    with pytest.raises(CorruptError, match=r"vmkeep.json says .* not encrypted, but .*somebody has replaced it"):
        open_in(store)

    assert {blob.key: store.get(blob.key) for blob in store.list("")} == before


def test_an_encrypted_descriptor_in_the_place_of_a_plain_one_is_refused():
    store, other = plain(), encrypted()
    swap(store, other)
    for blob in other.list("keys/"):
        store.put(blob.key, other.get(blob.key))

    with pytest.raises(CorruptError, match=r"says that the repository is encrypted, but what is stored is not"):
        open_in(store, passphrase=PASSPHRASE)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_the_descriptor_of_another_encrypted_repository_is_told_by_the_key_slots(passphrase):
    store, other = encrypted(), encrypted()
    ours, theirs = (json.loads(each.get("vmkeep.json"))["id"] for each in (store, other))
    swap(store, other)

    with pytest.raises(CorruptError, match=rf"is that of repository {theirs}, but the key slots are those of {ours}"):
        open_in(store, passphrase=passphrase)


def test_the_right_descriptor_opens_again_what_was_stored_in_clear_meanwhile():
    store = encrypted()
    right = store.get("vmkeep.json")
    other = plain()
    for blob in list(other.list("index/")):
        store.put(f"index/{'0' * 31}1", other.get(blob.key))

    assert store.get("vmkeep.json") == right
    assert open_in(store, passphrase=PASSPHRASE).encrypted


def test_slots_of_an_interrupted_init_do_not_close_a_plain_repository_that_has_data():
    store, other = plain(), encrypted()
    for blob in other.list("keys/"):
        store.put(blob.key, other.get(blob.key))

    assert not open_in(store).encrypted


def test_a_flipped_bit_in_a_segment_does_not_close_a_repository(tmp_path):
    with create_repository(str(tmp_path)) as repository:
        store_file(repository, b"content", run="run")
        (segment,) = (tmp_path / "index").iterdir()
    blob = bytearray(segment.read_bytes())
    for at in range(48):
        for bit in range(8):
            flipped = blob.copy()
            flipped[at] ^= 1 << bit
            segment.write_bytes(flipped)
            assert open_repository(str(tmp_path)).id == repository.id


def test_opening_a_repository_lists_no_more_segments_than_it_looks_at():
    class Counted(MemoryStore):
        listed = 0

        def list(self, prefix):
            for blob in super().list(prefix):
                self.listed += 1
                yield blob

    store = Counted()
    descriptor.create(store, made())
    repository = open_in(store)
    for number in range(40):
        store_file(repository, bytes([number]), run="run")
    store.listed = 0

    open_in(store)

    assert store.listed <= 16
