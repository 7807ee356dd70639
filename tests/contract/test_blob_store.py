"""What every blob store has to promise, run against each backend and each wrapper."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import S3Server
from vmkeep.blobs import BlobStore, open_store
from vmkeep.blobs.faulty import FaultyStore
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.memory import MemoryStore
from vmkeep.blobs.opening import create_store
from vmkeep.blobs.s3.access import S3Access, S3Location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.ssh.sftp import SftpStore
from vmkeep.blobs.ssh.sshaccess import SshAccess, parse_location
from vmkeep.blobs.wrappers.metered import Meter, MeteredStore
from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.errors import BlobNotFoundError, ConflictError, UsageError

BACKENDS: dict[str, Callable[[Path], BlobStore]] = {
    "memory": lambda _folder: MemoryStore(),
    "local": LocalStore,
    "opened": lambda folder: open_store(str(folder)),
    "faulty": lambda folder: FaultyStore(LocalStore(folder)),
    "retrying": lambda folder: RetryingStore(SettlingStore(LocalStore(folder))),
    "settling": lambda _folder: SettlingStore(MemoryStore()),
    "throttled": lambda folder: ThrottledStore(LocalStore(folder), Pace(parse_rates("1GiB"))),
    "metered": lambda folder: MeteredStore(LocalStore(folder), Meter()),
    "limited": lambda folder: open_store(str(folder), limit_rate="500MiB", meter=Meter()),
}


SERVERS: dict[str, Callable[[pytest.FixtureRequest], BlobStore]] = {
    "s3": lambda request: _s3(request.getfixturevalue("s3_server")),
    "s3 with versions": lambda request: _s3_versions(request.getfixturevalue("s3_server")),
    "s3 opened": lambda request: _s3_opened(request.getfixturevalue("s3_server")),
    "moto": lambda request: _s3(request.getfixturevalue("moto_server")),
    "moto with versions": lambda request: _s3_versions(request.getfixturevalue("moto_server")),
    "moto opened": lambda request: _s3_opened(request.getfixturevalue("moto_server")),
    "sftp": lambda request: SftpStore(SshAccess(parse_location(_ssh_location(request)))),
    "sftp opened": lambda request: create_store(_ssh_location(request)),
}


def _s3(server: S3Server) -> BlobStore:
    place = S3Location(bucket=server.bucket, prefix=f"contract/{uuid.uuid4()}")
    return S3BlobStore(place, S3Access(place, server.credentials))


def _s3_versions(server: S3Server) -> BlobStore:
    return _s3(server.with_versions())


def _s3_opened(server: S3Server) -> BlobStore:
    return create_store(f"s3://{server.bucket}/contract/{uuid.uuid4()}", credentials=server.credentials)


def _ssh_location(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("ssh_home")
    folder: Path = request.getfixturevalue("tmp_path")
    return request.getfixturevalue("ssh_server").location(folder)


@pytest.fixture(params=sorted([*BACKENDS, *SERVERS]))
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> BlobStore:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("lines")))  # where rate limits are shared
    if request.param in SERVERS:
        return SERVERS[request.param](request)
    return BACKENDS[request.param](tmp_path)


def test_what_was_put_is_got_back(store: BlobStore) -> None:
    assert store.put("packs/ab/one", b"content") is True

    assert store.get("packs/ab/one") == b"content"
    assert store.size("packs/ab/one") == 7


def test_the_same_bytes_may_be_put_twice(store: BlobStore) -> None:
    store.put("a/b", b"content")

    assert store.put("a/b", bytearray(b"content")) is False
    assert store.put("a/b", memoryview(b"content")) is False


@pytest.mark.parametrize("other", [b"other!!", b"content and more", b"cont", b""])
def test_other_bytes_under_the_same_key_are_refused_and_change_nothing(store: BlobStore, other: bytes) -> None:
    store.put("a/b", b"content")

    with pytest.raises(ConflictError, match="a/b"):
        store.put("a/b", other)

    assert store.get("a/b") == b"content"


def test_of_many_creators_of_one_key_exactly_one_wins(store: BlobStore) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        try:
            if store.put("race/key", b"%d" % number):
                won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert store.get("race/key") == b"%d" % won[0]


def test_replace_creates_and_overwrites(store: BlobStore) -> None:
    store.replace("runs/x/lease", b"one")
    store.replace("runs/x/lease", b"and two")

    assert store.get("runs/x/lease") == b"and two"


def test_ranges_end_with_the_blob(store: BlobStore) -> None:
    store.put("a/b", b"0123456789")
    buffer = memoryview(bytearray(4))

    assert store.get_range("a/b", 3, 4) == b"3456"
    assert store.get_range("a/b", 8, 100) == b"89"
    assert store.get_range("a/b", 10, 1) == b""
    assert store.get_range("a/b", 99, 1) == b""
    assert (store.get_into("a/b", 2, buffer), bytes(buffer)) == (4, b"2345")
    assert store.get_into("a/b", 8, buffer) == 2
    assert store.get_into("a/b", 99, buffer) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("no/such"),
        lambda store: store.size("no/such"),
        lambda store: store.get_range("no/such", 0, 1),
        lambda store: store.get_into("no/such", 0, memoryview(bytearray(1))),
    ],
)
def test_a_missing_blob_is_named(store: BlobStore, call: Callable[[BlobStore], object]) -> None:
    with pytest.raises(BlobNotFoundError, match="no/such"):
        call(store)


def test_a_listing_is_complete_and_sorted_by_key(store: BlobStore) -> None:
    keys = ["a-b/c", "a/b/c", "a/b", "a0/x", "b", "a/ba/x"]
    for key in keys:
        if key != "a/b":  # a folder in some backends
            store.put(key, key.encode())

    listed = [(info.key, info.size) for info in store.list("")]
    assert listed == sorted((key, len(key)) for key in keys if key != "a/b")
    assert [info.key for info in store.list("a/")] == ["a/b/c", "a/ba/x"]
    assert list(store.list("nothing/")) == []
    assert next(store.list("b/"), None) is None
    assert all(info.modified.tzinfo is not None for info in store.list(""))


def test_deleting_what_is_gone_is_success(store: BlobStore) -> None:
    store.put("a/b/c", b"1")

    store.delete("a/b/c")
    store.delete("a/b/c")

    assert list(store.list("")) == []
    assert store.put("a/b/c", b"2") is True


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "a b", "a\nb", "ü", "x" * 201])
def test_keys_that_some_backend_could_not_hold_are_refused(store: BlobStore, key: str) -> None:
    with pytest.raises(UsageError):
        store.put(key, b"")


def test_an_empty_blob_is_a_blob(store: BlobStore) -> None:
    store.put("a/empty", b"")

    assert store.get("a/empty") == b""
    assert store.size("a/empty") == 0


def test_looking_whether_it_can_be_written_changes_nothing(store: BlobStore) -> None:
    store.check_writable()

    assert list(store.list("")) == []
