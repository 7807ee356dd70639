"""A passphrase's work is done once for all processes that a worker forks or starts, and no disk ever holds its key."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.sealed import CHEAP, PASSPHRASE
from vmkeep.errors import RepositoryError
from vmkeep.repository import create_encrypted_repository, open_repository
from vmkeep.repository.unlock import keycache, passphrases, slots
from vmkeep.repository.unlock.keycache import KeyCache

FORKED = multiprocessing.get_context("fork")
KEY = bytes(range(32))


@pytest.fixture
def shared(monkeypatch):
    """Keys are kept here, as in a worker."""
    monkeypatch.setattr(keycache, "_shared", None)
    keycache.share_keys()
    yield keycache._shared
    os.close(keycache._shared.descriptor)


@pytest.fixture
def derived(monkeypatch):
    """Counts derivations in this process and in forked ones."""
    count = FORKED.Value("i", 0)
    derive = passphrases.argon2id_key

    def counting(fields, passphrase):
        with count:
            count.value += 1
        return derive(fields, passphrase)

    monkeypatch.setitem(slots._KEYS, passphrases.ARGON2ID, counting)
    monkeypatch.setattr(slots, "COST", CHEAP)
    return count


def in_a_fork(function):
    """Run a function as a task runs: in a process that is forked from this one; return whether it ended well."""
    child = FORKED.Process(target=function)
    child.start()
    child.join()
    return child.exitcode == 0


def test_tasks_that_a_worker_forks_derive_a_passphrases_key_once(shared, derived, tmp_path):
    create_encrypted_repository(str(tmp_path), passphrase=PASSPHRASE)
    derived.value = 0

    for _ in range(4):
        assert in_a_fork(lambda: open_repository(str(tmp_path), passphrase=PASSPHRASE))

    assert derived.value == 1


def test_a_wrong_passphrase_finds_nothing(shared, derived, tmp_path):
    create_encrypted_repository(str(tmp_path), passphrase=PASSPHRASE)
    open_repository(str(tmp_path), passphrase=PASSPHRASE)

    with pytest.raises(RepositoryError, match="wrong passphrase"):
        open_repository(str(tmp_path), passphrase="another passphrase")


def test_a_slot_that_is_gone_opens_nothing(shared, derived, tmp_path):
    repository = create_encrypted_repository(str(tmp_path), passphrase=PASSPHRASE).repository
    open_repository(str(tmp_path), passphrase=PASSPHRASE)
    slot = next(slot for slot in repository.slots.read()[0] if slot.kind == passphrases.ARGON2ID)
    repository.slots.remove(slot.id)

    with pytest.raises(RepositoryError, match="wrong passphrase"):
        open_repository(str(tmp_path), passphrase=PASSPHRASE)


def test_neither_the_key_nor_what_it_came_from_can_be_read_in_the_cache(shared):
    shared.store(b"origin", KEY)

    assert shared.load(b"origin") == KEY
    assert KEY not in bytes(shared._map)
    assert b"origin" not in bytes(shared._map)


def test_whoever_starts_a_transfer_passes_the_cache_on(shared):
    shared.store(b"origin", KEY)

    assert KeyCache(shared.descriptor).load(b"origin") == KEY
    assert not os.get_inheritable(shared.descriptor)


@pytest.mark.parametrize("byte", range(0, keycache._ENTRY.size, 7))
def test_an_entry_that_is_torn_is_not_believed(shared, byte):
    shared.store(b"origin", KEY)
    tag, _, _ = shared._secrets(b"origin")
    shared._map[shared._place(tag) + byte] ^= 1

    assert shared.load(b"origin") is None


def test_an_entry_lapses(shared, monkeypatch):
    monkeypatch.setattr(keycache, "KEPT_SECONDS", -1)
    shared.store(b"origin", KEY)

    assert shared.load(b"origin") is None


def test_no_two_workers_find_each_others_entries(shared):
    other = KeyCache.make()
    other.store(b"origin", KEY)

    assert shared.load(b"origin") is None
    os.close(other.descriptor)


def test_keys_are_derived_anew_where_nobody_has_asked_to_keep_them(monkeypatch):
    monkeypatch.setattr(keycache, "_shared", None)

    assert keycache.derived_once(b"origin", lambda: KEY) == KEY
    assert keycache.derived_once(b"origin", lambda: bytes(32)) == bytes(32)
