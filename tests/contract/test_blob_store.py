"""The contract of blob stores, run against each backend and each wrapper."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from vmkeep.blobs import BlobStore, open_store, space_of
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.opening import create_store
from vmkeep.blobs.s3.s3access import S3Access, S3Location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.ssh.sftp import SftpStore
from vmkeep.blobs.ssh.sshaccess import SshAccess, parse_location
from vmkeep.blobs.wrappers.metered import Meter, MeteredStore
from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.blobs.wrappers.watched import WatchedStore
from vmkeep.testing import FaultyStore, MemoryStore
from vmkeep.testing.blob_contract import BlobStoreContract
from vmkeep.testing.servers import S3Server

BACKENDS: dict[str, Callable[[Path], BlobStore]] = {
    "memory": lambda _folder: MemoryStore(),
    "local": LocalStore,
    "opened": lambda folder: open_store(str(folder)),
    "faulty": lambda folder: FaultyStore(LocalStore(folder)),
    "retrying": lambda folder: RetryingStore(SettlingStore(LocalStore(folder))),
    "settling": lambda _folder: SettlingStore(MemoryStore()),
    "throttled": lambda folder: ThrottledStore(LocalStore(folder), Pace(parse_rates("1GiB"))),
    "metered": lambda folder: MeteredStore(LocalStore(folder), Meter()),
    "watched": lambda folder: WatchedStore(LocalStore(folder)),
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


class TestEveryStore(BlobStoreContract):
    """Each backend, and each wrapper around one."""

    @pytest.fixture(params=sorted([*BACKENDS, *SERVERS]))
    def store(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> BlobStore:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("lines")))  # where rate limits are shared
        if request.param in SERVERS:
            return SERVERS[request.param](request)
        return BACKENDS[request.param](tmp_path)

    def test_a_store_tells_its_room_truly_or_not_at_all(self, store: BlobStore, request: pytest.FixtureRequest) -> None:
        """A doctor must not call a store roomy that has told nothing, as S3 does not."""
        space = space_of(store)

        silent = request.node.callspec.params["store"].startswith(("s3", "moto", "memory", "settling"))
        assert (space is None) == silent
        assert space is None or 0 < space.free <= (space.capacity or space.free)
