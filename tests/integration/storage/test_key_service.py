"""Key slots that a key service opens: against one over HTTP that checks signatures and contexts (tests/kms.py)."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from click.testing import CliRunner

from tests.kms import ARN, key_server
from tests.sealed import CHEAP, PASSPHRASE, store_file
from tests.unit.maintenance.conftest import described
from vmkeep.cli.main import cli
from vmkeep.errors import (
    AuthenticationError,
    CorruptError,
    NotFoundError,
    PermissionDeniedError,
    RepositoryError,
    UnreachableError,
    UsageError,
)
from vmkeep.model.site import Site
from vmkeep.repository import KeyService, create_encrypted_repository, create_repository, open_in, open_site_repository
from vmkeep.repository.opening import create_encrypted_in, takes_passphrase
from vmkeep.repository.unlock import slots
from vmkeep.repository.unlock.descriptor import new_descriptor
from vmkeep.testing import MemoryStore


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(slots, "COST", CHEAP)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "VMKEEP_PASSPHRASE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server():
    with key_server() as running:
        yield running


@pytest.fixture
def kms(server):
    server.denied, server.disabled = False, set()
    server.calls.clear()
    return server


def _make(kms, *, passphrase=None):
    store = MemoryStore()
    descriptor = new_descriptor(block_size=65536, compression="none")
    service = KeyService(kms.credentials)
    created = create_encrypted_in(store, descriptor, passphrase=passphrase, kms_key=kms.key, service=service)
    return store, created


def test_a_key_service_opens_a_repository_without_a_passphrase(kms, tmp_path):
    place = str(tmp_path / "repo")
    create_encrypted_repository(place, passphrase=None, kms_key=kms.key, aws=kms.credentials)
    with open_site_repository(Site(repository=place, aws=kms.credentials)) as repository:
        store_file(repository, b"content", run="run")
        expected = {"vmkeep-repository": repository.id}

    assert {verb for verb, _ in kms.calls} == {"Encrypt", "Decrypt"}
    assert all(context == expected for _, context in kms.calls)
    assert not takes_passphrase(place)


def test_a_plain_descriptor_put_in_the_place_of_its_own_is_refused(kms, tmp_path):
    place, other = tmp_path / "repo", tmp_path / "other"
    create_encrypted_repository(str(place), passphrase=None, kms_key=kms.key, aws=kms.credentials)
    create_repository(str(other))
    shutil.copy(other / "vmkeep.json", place / "vmkeep.json")

    with pytest.raises(CorruptError, match=r"vmkeep.json says .*not encrypted.* somebody has replaced it"):
        open_site_repository(Site(repository=str(place), aws=kms.credentials))
    assert not takes_passphrase(str(place))


def test_a_strangers_descriptor_and_slots_are_refused_though_the_service_opens_them(kms):
    """Else all that is stored from then on would be under his key."""
    (store, created), (other, _) = _make(kms), _make(kms)
    store_file(created.repository, b"content", run="run")
    for blob in list(store.list("keys/")):
        store.delete(blob.key)
    for blob in list(other.list("keys/")):
        store.replace(blob.key, other.get(blob.key))
    store.replace("vmkeep.json", other.get("vmkeep.json"))
    before = {blob.key: store.get(blob.key) for blob in store.list("")}

    with pytest.raises(CorruptError, match=r"key opens nothing that is stored \(index/.*somebody has replaced it"):
        open_in(store, aws=kms.credentials)
    assert {blob.key: store.get(blob.key) for blob in store.list("")} == before


@pytest.mark.parametrize("prefix", ["index/", "points/"])
def test_damage_alone_does_not_close_a_repository_that_a_key_service_opens(kms, prefix):
    store, created = _make(kms)
    root, _ = store_file(created.repository, bytes(512), run="run")
    created.repository.seal(described(root, "run", number=1, size=512))
    for blob in list(store.list(prefix)):
        damaged = bytearray(store.get(blob.key))
        damaged[-1] ^= 1
        store.replace(blob.key, damaged)

    assert open_in(store, aws=kms.credentials).id == created.repository.id


def test_the_recovery_key_opens_it_when_the_key_service_is_gone(kms):
    store, created = _make(kms)
    kms.disabled.add(kms.key)

    with pytest.raises(RepositoryError, match=r"key/1111: the key service cannot use this key .DisabledException"):
        open_in(store, aws=kms.credentials)
    assert open_in(store, passphrase=created.recovery_key).master_key() == created.repository.master_key()


def test_a_slot_that_was_wrapped_for_another_repository_does_not_open(kms):
    store, created = _make(kms)
    other, _ = _make(kms)
    service = KeyService(kms.credentials)
    fields = slots.Slots(store, created.repository.id).read()[0][0].fields

    with pytest.raises(CorruptError, match="not wrapped by this key for this repository"):
        service.unwrap(kms.key, bytes.fromhex(fields["wrapped_key"]), repository="another")
    with pytest.raises(CorruptError, match="not wrapped by this key"):
        service.unwrap(kms.other, bytes.fromhex(fields["wrapped_key"]), repository=created.repository.id)
    assert open_in(other, aws=kms.credentials).encrypted


def test_neither_the_master_key_nor_the_slots_key_is_stored_or_sent(kms):
    store, created = _make(kms)
    stored = b"".join(store.get(blob.key) for blob in store.list(""))

    assert created.repository.master_key().hex().encode() not in stored
    assert kms.key.encode() in stored


def test_an_alias_is_remembered_as_the_key_behind_it(kms):
    _, created = _make(kms)
    slot = created.repository.slots.add_service(created.repository.master_key(), kms.alias, KeyService(kms.credentials))

    assert slot.fields["key"] == kms.key


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"secret_key": "wrong"}, AuthenticationError, "refuses the AWS credentials"),
        ({"kms_endpoint": "http://127.0.0.1:1"}, UnreachableError, "cannot be reached"),
    ],
)
def test_what_the_service_refuses_is_told_with_the_key(kms, change, error, match):
    store, _ = _make(kms)

    with pytest.raises(error, match=rf"key/1111: .*{match}"):
        open_in(store, aws=dataclasses.replace(kms.credentials, **change))


def test_a_missing_right_is_named(kms):
    store, _ = _make(kms)
    kms.denied = True

    with pytest.raises(PermissionDeniedError, match=r"kms:Encrypt .* and kms:Decrypt"):
        open_in(store, aws=kms.credentials)


@pytest.mark.parametrize(
    ("key", "error"), [("alias/backup", UsageError), (f"{ARN}key/unknown", RepositoryError), ("", UsageError)]
)
def test_a_key_that_is_none_leaves_no_repository(kms, key, error):
    store = MemoryStore()
    descriptor = new_descriptor(block_size=65536, compression="none")

    with pytest.raises(error):
        create_encrypted_in(store, descriptor, passphrase=None, kms_key=key, service=KeyService(kms.credentials))
    assert list(store.list("")) == []


def test_one_working_slot_of_several_is_enough(kms):
    store, created = _make(kms)
    created.repository.slots.add_service(created.repository.master_key(), kms.other, KeyService(kms.credentials))
    kms.disabled.add(kms.key)

    assert open_in(store, aws=kms.credentials).master_key() == created.repository.master_key()


def _vmkeep(*arguments, **environment):
    done = CliRunner().invoke(
        cli, [*arguments, "--json"], catch_exceptions=False, standalone_mode=False, env=environment
    )
    if done.exception:
        raise done.exception
    return json.loads(done.output)


def test_slots_are_rotated_from_a_passphrase_to_a_key_service_and_back(kms, tmp_path, monkeypatch):
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    for name, value in kms.environment.items():
        monkeypatch.setenv(name, value)
    _vmkeep("repo", "init", "--encrypt", VMKEEP_PASSPHRASE=PASSPHRASE)
    first = next(slot for slot in _vmkeep("key", "list", VMKEEP_PASSPHRASE=PASSPHRASE) if "pass" in slot["opens_with"])

    rotated = _vmkeep("key", "rotate", first["id"][:6], "--kms", kms.key, VMKEEP_PASSPHRASE=PASSPHRASE)
    assert (rotated["opens_with"], rotated["removed"]) == ("AWS KMS", first["id"])
    with pytest.raises(RepositoryError, match="wrong passphrase"):
        _vmkeep("repo", "stats", VMKEEP_PASSPHRASE=PASSPHRASE)
    assert _vmkeep("repo", "stats")["points"] == 0

    with pytest.raises(NotFoundError):
        _vmkeep("key", "rotate", "no such", "--recovery")
    _vmkeep("key", "rotate", rotated["id"], VMKEEP_NEW_PASSPHRASE="another passphrase")
    assert _vmkeep("repo", "stats", VMKEEP_PASSPHRASE="another passphrase")["points"] == 0
    with pytest.raises(RepositoryError, match="is encrypted: set VMKEEP_PASSPHRASE"):
        _vmkeep("repo", "stats")


def test_a_rotation_that_fails_keeps_the_old_slot(kms, tmp_path, monkeypatch):
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    for name, value in kms.environment.items():
        monkeypatch.setenv(name, value)
    made = _vmkeep("repo", "init", "--encrypt", "--kms", kms.key)
    slot = next(slot for slot in _vmkeep("key", "list") if slot["opens_with"] == "AWS KMS")

    with pytest.raises(RepositoryError, match="NotFoundException"):
        _vmkeep("key", "rotate", slot["id"], "--kms", f"{ARN}key/unknown")
    assert slot in _vmkeep("key", "list")
    assert made["recovery_key"].startswith("VMKR-")
    with pytest.raises(UsageError, match="needs --encrypt"):
        _vmkeep("repo", "init", "-r", str(tmp_path / "other"), "--kms", kms.key)
