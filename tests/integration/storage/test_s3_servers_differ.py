"""S3 servers that are not the one we develop with: each front here behaves as some server was seen to behave."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from tests.fronts import NotAtOnce, Reply, Request, front, overwriting, refusal, refusing
from tests.patience import HANG
from vmkeep.blobs.opening import create_store
from vmkeep.blobs.s3 import s3access
from vmkeep.blobs.s3.answers import dissect
from vmkeep.blobs.s3.s3access import S3Access, S3Location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.errors import (
    AuthenticationError,
    PermissionDeniedError,
    Recovery,
    RepositoryError,
    StoreError,
    StoreFullError,
    TransientError,
    UnreachableError,
)
from vmkeep.images import import_images
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.model.aws import AwsCredentials
from vmkeep.repository import create_repository


def _store(server, prefix=None):
    place = S3Location(bucket=server.bucket, prefix=prefix or f"fronts/{uuid.uuid4()}")
    return S3BlobStore(place, S3Access(place, server.credentials))


def _gets(request: Request) -> bool:
    return request.method == "GET" and "range" in request.headers


def _puts(request: Request) -> bool:
    return request.method == "PUT"


# -- where an object ends ---------------------------------------------------------------------------------------------

_FORGED = "no status code: 416 Range\n\nDebug source:\n  inner: Status {\n    status: 416,\n"


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (400, "Http416"), (403, "AccessDenied")])
@pytest.mark.parametrize("message", ["416", "<Code>InvalidRange</Code> 416", _FORGED])
def test_a_failed_read_is_never_the_end_of_an_object_whatever_its_words(moto_server, status, code, message):
    with front(moto_server, refusing(_gets, status, code, message)) as server:
        store = _store(server, f"416/{uuid.uuid4()}/status-code:-416")
        store.put("packs/416", b"0123456789")

        for call in (lambda: store.get_range("packs/416", 2, 4), lambda: store.get_range("packs/416", 416, 4)):
            with pytest.raises((StoreError, PermissionDeniedError)):
                call()


def test_a_server_that_is_gone_is_never_the_end_of_an_object(moto_server):
    with front(moto_server, refusing(lambda _request: False, 500, "")) as server:
        store = _store(server, "416")
        store.put("packs/416", b"0123456789")

    with pytest.raises(StoreError, match="cannot be reached"):
        store.get_range("packs/416", 416, 4)


def test_a_416_for_bytes_that_exist_is_an_error(moto_server):
    with front(moto_server, refusing(_gets, 416, "InvalidRange")) as server:
        store = _store(server)
        store.put("a", b"0123456789")

        with pytest.raises(StoreError, match="answered 416 InvalidRange"):
            store.get_range("a", 9, 4)
        assert store.get_range("a", 10, 4) == b""


@pytest.mark.parametrize("change", [lambda body: body[:3], lambda body: b"", lambda body: body + b"more"])
def test_an_answer_of_another_length_than_it_says_is_a_failure_and_no_damage(moto_server, change):
    def behave(request, ask):
        reply = ask(request)
        return replace(reply, body=change(reply.body)) if _gets(request) else reply

    with front(moto_server, behave) as server:
        store = _store(server)
        store.put("packs/a", b"0123456789")

        with pytest.raises(StoreError, match=r"packs/a: http.* sent \d+ bytes of 6 from 2 on"):
            store.get_range("packs/a", 2, 6)
        with pytest.raises(StoreError):
            store.get_into("packs/a", 2, memoryview(bytearray(6)))


@pytest.fixture(params=["is silent", "ends"])
def half(request):
    """A server that sends half of every object and is silent then, or ends the connection; and the words of that."""
    done = Event()

    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first, _, last = self.headers.get("Range", "bytes=0-999").removeprefix("bytes=").partition("-")
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Range", f"bytes {first}-{last}/1000")
            self.send_header("Content-Length", str(int(last) + 1 - int(first)))
            self.send_header("Last-Modified", "Fri, 01 May 2026 00:00:00 GMT")
            self.send_header("ETag", '"x"')
            self.end_headers()
            self.wfile.write(bytes((int(last) + 1 - int(first)) // 2))
            self.wfile.flush()
            if request.param == "is silent":
                done.wait(HANG)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Half)
    listening.daemon_threads = True
    thread = Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    place = S3Location(bucket="bucket", prefix="half")
    credentials = AwsCredentials(access_key="a", secret_key="b", endpoint=f"http://127.0.0.1:{listening.server_port}")
    told = {"is silent": "did not answer in time", "ends": "broke off in the middle of its answer"}[request.param]
    try:
        yield S3BlobStore(place, S3Access(place, credentials)), f"packs/a: {credentials.endpoint} {told}"
    finally:
        done.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_a_server_that_stops_in_the_middle_of_an_object_is_named_and_not_waited_for(half, monkeypatch):
    store, told = half
    # A server that ends its answer may need longer than that on a busy machine.
    monkeypatch.setattr(s3access, "_SILENCE", timedelta(seconds=0.1 if "did not answer" in told else HANG))

    for call in (lambda: store.get("packs/a"), lambda: store.get_range("packs/a", 0, 1000)):
        with pytest.raises(StoreError, match=told) as raised:
            call()
        assert raised.value.recovery is Recovery.RETRY


def test_what_a_client_says_in_words_is_no_answer():
    answer = dissect(
        RuntimeError(_FORGED + '    body: Some(\n        "x",\n\nDebug source:\nGeneric {\n    store: "S3",\n}')
    )

    assert (answer.status, answer.code, answer.failure) == (0, "", "")


# -- full -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "QuotaExceeded"),  # Ceph
        (400, "XMinioAdminBucketQuotaExceeded"),
        (403, "StorageQuotaExceeded"),
        (507, "XMinioStorageFull"),
        (507, ""),
        (503, "InsufficientStorage"),
        (400, "ServiceQuotaExceededException"),
        (413, "EntityTooLarge"),  # OpenStack Swift
    ],
)
def test_a_used_up_quota_is_a_full_store_and_no_lack_of_rights(moto_server, status, code):
    with front(moto_server, refusing(_puts, status, code, "AccessDenied")) as server:
        with pytest.raises(StoreFullError, match="no space left") as raised:
            _store(server).put("packs/a", b"1")
        assert raised.value.exit_code == 62

        with pytest.raises(StoreFullError, match="no space left"):
            create_store(f"s3://{server.bucket}/full", credentials=server.credentials)


def test_an_import_into_a_bucket_whose_quota_is_used_up_ends_as_on_a_full_disk(moto_server, tmp_path):
    (tmp_path / "disk.raw").write_bytes(random.Random(1).randbytes(1 << 20))
    with front(
        moto_server, refusing(lambda request: "/packs/" in request.path and _puts(request), 403, "QuotaExceeded")
    ) as server:
        repository = create_repository(f"s3://{server.bucket}/{uuid.uuid4()}", aws=server.credentials)

        with pytest.raises(StoreFullError, match="no space left") as raised:
            import_images(repository, [tmp_path / "disk.raw"], name="web")
        assert raised.value.exit_code == 62


# -- create if absent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (lambda: overwriting, "overwrites objects it was asked to create only if absent"),
        (NotAtOnce, "lets several writers at once create an object that only one of them may"),
    ],
)
def test_the_probe_finds_a_server_out_and_says_which_bucket_may_do(moto_server, behaviour, fault, versions):
    with front(moto_server.with_versions() if versions else moto_server, behaviour()) as server:
        store = _store(server)
        kind = "keeps versions: one that does not may do" if versions else "keeps no versions"

        with pytest.raises(RepositoryError, match=rf"{fault} .If-None-Match.; .*{kind}"):
            store.check_creates()
        assert list(store.list("")) == []


def test_the_probe_is_content_with_servers_that_keep_the_promise(s3_server, moto_server):
    for server in (s3_server, s3_server.with_versions(), moto_server, moto_server.with_versions()):
        store = _store(server)
        store.check_creates()
        assert list(store.list("")) == []


def test_a_server_that_tells_a_bucket_without_versions_by_a_status_of_its_own_is_understood(moto_server):
    """fake-s3 does so."""

    def behave(request, ask):
        if request.path.endswith("?versioning"):
            return Reply(200, {}, b"<VersioningConfiguration><Status>Disabled</Status></VersioningConfiguration>")
        return overwriting(request, ask)

    with front(moto_server, behave) as server, pytest.raises(RepositoryError, match="this one keeps no versions"):
        _store(server).check_creates()


def test_a_server_that_does_not_tell_about_versions_gets_a_verdict_all_the_same(moto_server):
    def behave(request, ask):
        if request.path.endswith("?versioning"):
            return refusal(501, "NotImplemented")
        return overwriting(request, ask)

    with front(moto_server, behave) as server, pytest.raises(RepositoryError, match="a bucket without versions may do"):
        _store(server).check_creates()


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (403, "AccessDenied"), (501, "NotImplemented")])
def test_a_probe_that_cannot_be_removed_never_hides_the_verdict(moto_server, status, code):
    def behave(request, ask):
        return refusal(status, code) if request.deletes else overwriting(request, ask)

    with front(moto_server, behave) as server, pytest.raises(RepositoryError, match="overwrites objects"):
        create_store(f"s3://{server.bucket}/{uuid.uuid4()}", credentials=server.credentials)


def test_a_store_in_which_nothing_can_be_removed_gets_no_repository(moto_server):
    refuses = refusing(lambda request: request.deletes, 403, "AccessDenied")
    with front(moto_server, refuses) as server, pytest.raises(PermissionDeniedError, match="s3:DeleteObject"):
        create_store(f"s3://{server.bucket}/{uuid.uuid4()}", credentials=server.credentials)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_request_or_answer_in_the_race_is_no_verdict(moto_server, lost, number):
    seen = Counter()

    def behave(request, ask):
        if not request.creates:
            return ask(request)
        seen[request.path] += 1
        if seen[request.path] != number:
            return ask(request)
        if lost == "answer":
            ask(request)
        return refusal(503, "SlowDown")

    with front(moto_server, behave) as server:
        _store(server).check_creates()


def test_a_prune_proves_again_that_the_store_creates_only_what_is_absent(moto_server):
    """Somebody gives the bucket versions after the repository was made, and its server honours no condition there."""
    behaviours = [lambda request, ask: ask(request)]
    with front(moto_server, lambda request, ask: behaviours[-1](request, ask)) as server:
        location = f"s3://{server.bucket}/{uuid.uuid4()}"
        with create_repository(location, aws=server.credentials) as repository:
            plan = plan_prune(repository, None, margins=Margins(), now=datetime.now(UTC))
            execute(repository, plan)
            behaviours.append(NotAtOnce())
            before = list(repository.blobs.list(""))

            with pytest.raises(RepositoryError, match="lets several writers at once create"):
                execute(repository, plan)

            assert list(repository.blobs.list("")) == before


@pytest.mark.parametrize(("status", "code"), [(405, "MethodNotAllowed"), (501, "NotImplemented")])
def test_a_server_that_deletes_no_list_of_objects_is_asked_for_each(moto_server, status, code):
    with front(moto_server, refusing(lambda request: request.method == "POST", status, code)) as server:
        store = _store(server)
        store.check_creates()
        store.replace("a", b"1")

        store.delete("a")
        store.delete("a")

        assert list(store.list("")) == []


# -- credentials ------------------------------------------------------------------------------------------------------


def test_credentials_that_cannot_be_renewed_are_told_by_what_failed_not_by_its_words(moto_server):
    def renew():
        raise TransientError("the vault is sealed (status code: 403 <Code>AccessDenied</Code>)")

    place = S3Location(bucket=moto_server.bucket, prefix="x")
    credentials = AwsCredentials(access_key="a", secret_key="b", endpoint=moto_server.endpoint, renew=renew)

    with pytest.raises(StoreError, match="credentials could not be renewed: the vault is sealed"):
        S3BlobStore(place, S3Access(place, credentials)).get("a")


def test_an_access_key_without_its_secret_is_refused_before_anything_is_sent():
    place = S3Location(bucket="bucket", prefix="x")

    with pytest.raises(AuthenticationError, match="has no secret; set AWS_SECRET_ACCESS_KEY"):
        S3Access(place, AwsCredentials(access_key="a"))


def test_a_server_that_fails_for_now_is_unreachable(moto_server):
    behaviour = refusing(lambda request: True, 400, "SomethingElse")
    with front(moto_server, behaviour) as server, pytest.raises(UnreachableError):
        create_store(f"s3://{server.bucket}/x", credentials=server.credentials)
