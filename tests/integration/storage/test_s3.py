"""A real S3 server: what users can get wrong, what the network can lose, and the whole way of a repository."""

from __future__ import annotations

import dataclasses
import random
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from tests.life import live
from vmkeep.blobs.aws.chain import resolve
from vmkeep.blobs.aws.client import AwsClient
from vmkeep.blobs.locking import LockMode, LockRule
from vmkeep.blobs.opening import create_store, open_store
from vmkeep.blobs.s3.s3access import S3Access, S3Location, parse_location, upload_seconds
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.cli.main import cli
from vmkeep.errors import (
    AuthenticationError,
    ConflictError,
    CredentialsExpiredError,
    PermissionDeniedError,
    RepositoryError,
    StoreError,
    StoreFullError,
    UnreachableError,
    UsageError,
)
from vmkeep.model.aws import AwsCredentials
from vmkeep.repository import create_repository
from vmkeep.testing import lossy

MIB = 1 << 20
_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


@pytest.fixture
def location(s3_server):
    return f"s3://{s3_server.bucket}/{uuid.uuid4()}/repo"


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    for name in _AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def _store(server, **changes):
    credentials = dataclasses.replace(server.credentials, **changes)
    place = S3Location(bucket=server.bucket, prefix=f"tests/{uuid.uuid4()}")
    return S3BlobStore(place, S3Access(place, credentials))


@pytest.mark.parametrize(
    ("which", "versions"),
    [
        ("s3_server", True),
        ("moto_server", False),
        pytest.param("s3_server", False, marks=pytest.mark.soak),
        pytest.param("moto_server", True, marks=pytest.mark.soak),
    ],
)
def test_a_repository_lives_on_s3_from_the_command_line(which, versions, no_aws, monkeypatch, tmp_path, request):
    server = request.getfixturevalue(which)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = (server.with_versions() if versions else server).bucket
    live(f"s3://{bucket}/{uuid.uuid4()}/a repository of Ünal", tmp_path)


def test_a_place_has_one_repository_only(s3_server, location, no_aws, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    CliRunner().invoke(cli, ["repo", "init", "-r", location], catch_exceptions=False)

    with pytest.raises(RepositoryError, match="is a repository already"):
        CliRunner().invoke(cli, ["repo", "init", "-r", location], catch_exceptions=False)


def test_keys_of_a_profile_are_found(s3_server, location, no_aws, monkeypatch):
    (no_aws / "credentials").write_text(
        f"[backup]\naws_access_key_id = {s3_server.access_key}\naws_secret_access_key = {s3_server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "backup")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)

    assert create_store(location).put("a", b"1") is True


def test_a_profile_brings_its_endpoint_and_a_role_that_renews_itself(s3_server, location, no_aws, monkeypatch):
    (no_aws / "credentials").write_text(
        f"[base]\naws_access_key_id = {s3_server.access_key}\naws_secret_access_key = {s3_server.secret_key}\n"
    )
    (no_aws / "config").write_text(
        f"[profile backup]\nrole_arn = {s3_server.role}\nsource_profile = base\nregion = eu-central-1\n"
        f"endpoint_url = {s3_server.endpoint}\nduration_seconds = 900\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "backup")

    assert create_store(location).put("a", b"1") is True
    found = resolve(None, what=location)
    assert (found.endpoint, found.region) == (s3_server.endpoint, "eu-central-1")
    assert found.token
    assert found.renew().token != found.token  # 15 minutes are near the end from the beginning


def test_what_a_server_forbids_is_hidden_where_its_versions_cannot_be_freed(s3_server, monkeypatch):
    """Someone's bucket may keep versions, and his keys may not remove them."""
    store = _store(s3_server.with_versions())
    monkeypatch.setattr(S3Versions, "of", _forbidden)
    store.replace("runs/x/lease", b"1")
    store.replace("runs/y/lease", b"2")

    store.delete("runs/x/lease")

    assert [info.key for info in store.list("")] == ["runs/y/lease"]
    store.locks.begin(LockRule(mode=LockMode.COMPLIANCE, days=1), lambda _key: True)
    with pytest.raises(PermissionDeniedError):
        store.delete("runs/y/lease")


def _forbidden(self, key):
    raise PermissionDeniedError("s3:ListBucketVersions")


def test_no_credentials_at_all_is_told_with_the_remedy(no_aws):
    with pytest.raises(AuthenticationError, match=r"s3://bucket/x: no AWS credentials; set AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket/x")


def test_a_missing_bucket_is_named(s3_server):
    with pytest.raises(RepositoryError, match=r"s3://not-there: no such bucket at http://127.*; create it first"):
        open_store("s3://not-there/repo", credentials=s3_server.credentials)


@pytest.mark.parametrize(("field", "code"), [("secret_key", "SignatureDoesNotMatch"), ("access_key", "Invalid")])
def test_a_wrong_key_or_secret_is_an_authentication_error(s3_server, location, field, code):
    wrong = dataclasses.replace(s3_server.credentials, **{field: "wrong"})

    with pytest.raises(AuthenticationError, match=rf"refuses the access key or its secret \({code}"):
        open_store(location, credentials=wrong)


def test_a_server_that_is_not_there_is_unreachable(s3_server, location):
    nowhere = dataclasses.replace(s3_server.credentials, endpoint="http://127.0.0.1:1")

    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        open_store(location, credentials=nowhere)


def test_plain_http_is_used_only_if_the_endpoint_says_so(s3_server, location):
    tls = dataclasses.replace(s3_server.credentials, endpoint=s3_server.endpoint.replace("http:", "https:"))

    with pytest.raises(UnreachableError):
        open_store(location, credentials=tls)


@pytest.mark.parametrize("lose", [1, 3])
def test_a_lost_reply_to_a_create_is_settled_by_reading_back(s3_server, lose):
    with lossy(int(s3_server.endpoint.rpartition(":")[2])) as proxy:
        credentials = dataclasses.replace(s3_server.credentials, endpoint=f"http://127.0.0.1:{proxy.port}")
        store = create_store(f"s3://{s3_server.bucket}/{uuid.uuid4()}", credentials=credentials)
        proxy.lose = lose

        store.put("points/a", b"write id 1")

        assert proxy.lost >= 1
        assert store.get("points/a") == b"write id 1"
        with pytest.raises(ConflictError):
            store.put("points/a", b"write id 2")


def test_large_objects_and_many_requests_at_once(s3_server):
    store = _store(s3_server)
    blobs = {f"packs/{number}": random.Random(number).randbytes(3 * MIB + number) for number in range(8)}
    threads = [threading.Thread(target=store.put, args=each) for each in blobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {info.key: info.size for info in store.list("packs/")} == {key: len(data) for key, data in blobs.items()}
    assert all(store.get(key) == data for key, data in blobs.items())
    assert store.put("packs/3", blobs["packs/3"]) is False
    with pytest.raises(ConflictError):
        store.put("packs/3", blobs["packs/3"][:-1] + b"?")


def test_more_names_than_one_page_of_a_listing(s3_server):
    store = _store(s3_server)
    names = [f"points/{number:04}/x" for number in range(1010)]
    threads = [
        threading.Thread(target=lambda part: [store.put(name, b"") for name in part], args=(names[at::8],))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [info.key for info in store.list("points/")] == names


@pytest.mark.parametrize(
    ("status", "code", "error", "message"),
    [
        (403, "RequestTimeTooSkewed", AuthenticationError, "this machine's clock is off"),
        (403, "AccessDenied", PermissionDeniedError, "access denied .*s3:PutObject"),
        (403, "ExpiredToken", CredentialsExpiredError, r"have expired .ExpiredToken"),
        (507, "QuotaExceeded", StoreFullError, "no space left"),
        (301, "PermanentRedirect", RepositoryError, "set AWS_REGION"),
        (501, "NotImplemented", RepositoryError, "If-None-Match"),
        (409, "ConditionalRequestConflict", StoreError, "another write was in the way"),
        (400, "SomethingElse", StoreError, "answered 400 SomethingElse"),
    ],
)
def test_every_refusal_of_a_server_becomes_one_clear_line(status, code, error, message):
    with _Answering(status, code) as endpoint:
        place = S3Location(bucket="bucket", prefix="x")
        access = S3Access(place, AwsCredentials(access_key="a", secret_key="b", endpoint=endpoint))
        with pytest.raises(error, match=message) as raised:
            S3BlobStore(place, access).put("points/a", b"1")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_server_that_ignores_if_none_match_gets_no_repository():
    with _Answering(200, "") as endpoint:
        place = S3Location(bucket="bucket", prefix="x")
        access = S3Access(place, AwsCredentials(access_key="a", secret_key="b", endpoint=endpoint))
        with pytest.raises(RepositoryError, match="overwrites objects it was asked to create only if absent"):
            S3BlobStore(place, access).check_creates()


class _Answering:
    """An HTTP server that says one thing to every PUT, has no objects, and lets anyone delete."""

    def __init__(self, status, code):
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(status, body)

            def do_HEAD(self):
                self._answer(404, b"")

            def do_DELETE(self):
                self._answer(204, b"")

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(200, b"<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>")

            def _answer(self, status, body):
                self.send_response(status)
                self.send_header("ETag", '"1"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.parametrize(
    ("location", "bucket", "prefix"),
    [("s3://vm-backup/a/b", "vm-backup", "a/b"), ("s3://vm-backup", "vm-backup", ""), ("s3://b.c/a/", "b.c", "a")],
)
def test_a_location_is_a_bucket_and_a_prefix(location, bucket, prefix):
    assert parse_location(location) == S3Location(bucket=bucket, prefix=prefix)


@pytest.mark.parametrize("location", ["s3://", "s3://UPPER/x", "s3://key:secret@b/x", "s3://bucket/a/../b", "s3://b/x"])
def test_other_locations_are_refused(location):
    with pytest.raises(UsageError):
        parse_location(location)


def test_an_upload_gets_the_time_its_size_needs():
    assert upload_seconds(0) == 30
    assert upload_seconds(64 * MIB) == 30 + 256
    with pytest.raises(AttributeError):
        AwsCredentials().access_key = "x"
    assert "secret" not in repr(AwsCredentials(secret_key="secret-value")).replace("secret_key", "")


def test_a_repository_is_not_made_among_other_objects(s3_server):
    prefix = str(uuid.uuid4())
    location = f"s3://{s3_server.bucket}/{prefix}"
    client = AwsClient("s3", s3_server.credentials, endpoint=s3_server.endpoint, region="us-east-1").get()
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/photos/one.jpg", Body=b"content")

    with pytest.raises(RepositoryError, match=rf"{prefix}: is not empty \(photos\)"):
        create_repository(location, aws=s3_server.credentials)

    create_repository(f"{location}/photos/below", aws=s3_server.credentials)
