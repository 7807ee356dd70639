"""Lists of S3 servers that are not whole, though the answer has the status 200."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fronts import Reply, Request, front
from tests.unit.maintenance.conftest import NONE
from vmkeep.blobs import BlobStore, confirm_lists
from vmkeep.blobs.s3.listedblobs import ListedBlobs
from vmkeep.blobs.s3.s3access import S3Access, S3Location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.clock import now
from vmkeep.errors import StoreError
from vmkeep.images import import_images
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import create_repository

ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>x</Message></Error>'


def lists(request: Request) -> bool:
    return request.method == "GET" and "list-type=2" in request.path


CHANGES = {
    "an error": lambda _body: ERROR,
    "nothing": lambda _body: b"",
    "a page": lambda _body: b"<html><body>please log in</body></html>",
    "cut": lambda body: body.replace(b"<IsTruncated>false</IsTruncated>", b"<IsTruncated>true</IsTruncated>"),
    "half": lambda body: body[: len(body) // 2],
}


def give_up_at_once(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    while not isinstance(store, RetryingStore):
        store = store.inner
    monkeypatch.setattr(store, "_budget", 0.0)


@pytest.mark.parametrize("change", CHANGES)
def test_a_list_that_is_not_whole_is_a_failure_and_never_a_short_list(moto_server, change):
    changing: list[str] = []

    def behave(request: Request, ask: Callable[[Request], Reply]) -> Reply:
        reply = ask(request)
        if lists(request) and changing:
            return replace(reply, body=CHANGES[change](reply.body))
        return reply

    with front(moto_server, behave) as server:
        place = S3Location(bucket=server.bucket, prefix=f"fronts/{uuid.uuid4()}")
        store = S3BlobStore(place, S3Access(place, server.credentials))
        for key in ("points/a", "points/b"):
            store.put(key, b"1")
        changing.append(change)

        confirm_lists(store)
        with pytest.raises(StoreError):
            list(store.list("points/"))
        changing.clear()
        assert [blob.key for blob in store.list("points/")] == ["points/a", "points/b"]


@pytest.mark.parametrize("change", ["an error", "a page"])
def test_a_prune_deletes_nothing_where_the_lists_of_points_come_as_errors_with_status_200(
    moto_server, tmp_path, monkeypatch, change
):
    """Without points and without notes of them, nothing would be reached by anything."""
    broken: list[bool] = []
    hidden = ("points", "sealed")

    def behave(request: Request, ask: Callable[[Request], Reply]) -> Reply:
        reply = ask(request)
        prefix = parse_qs(urlsplit(request.path).query).get("prefix", [""])[0]
        if lists(request) and broken and prefix.rstrip("/").endswith(hidden):
            return replace(reply, body=CHANGES[change](reply.body))
        return reply

    with front(moto_server, behave) as server:
        image = tmp_path / "image.raw"
        image.write_bytes(random.Random(1).randbytes(1 << 20))
        with create_repository(f"s3://{server.bucket}/fronts/{uuid.uuid4()}", aws=server.credentials) as repository:
            import_images(repository, [image], name="image")
            packs = [blob.key for blob in repository.blobs.list("packs/")]
            give_up_at_once(repository.blobs, monkeypatch)
            broken.append(True)

            with pytest.raises(StoreError, match=r"not all that there are|does not tell whether its list is whole"):
                execute(repository, plan_prune(repository, None, margins=NONE, now=now()))

            broken.clear()
            assert [blob.key for blob in repository.blobs.list("packs/")] == packs
            assert repository.check(read_data=True) == []


def test_an_object_that_another_machine_writes_behind_a_list_is_listed_by_the_next_try_and_fails_nothing(moto_server):
    written: list[str] = []

    with front(moto_server, lambda request, ask: behave(request, ask)) as server:
        location = f"fronts/{uuid.uuid4()}"
        place = S3Location(bucket=server.bucket, prefix=f"{location}/others")
        another = S3BlobStore(place, S3Access(place, server.credentials))

        def behave(request: Request, ask: Callable[[Request], Reply]) -> Reply:
            reply = ask(request)
            if lists(request) and "max-keys=1&" not in f"{request.path}&" and "points" in request.path and not written:
                written.append("points/b")  # after the list was made, and before anybody asks what follows it
                another.put("points/b", b"2")
            return reply

        store = RetryingStore(S3BlobStore(place, S3Access(place, server.credentials)))
        another.put("points/a", b"1")
        confirm_lists(store)

        assert [blob.key for blob in store.list("points/")] == ["points/a", "points/b"]
        assert written


@pytest.mark.parametrize("hidden", [False, True])
def test_a_server_that_does_not_know_where_to_begin_a_list_is_asked_for_all_of_it(moto_server, monkeypatch, hidden):
    """It answers with the first object in place of the one that follows the list."""
    hiding: list[str] = []
    looks = Counter[str]()
    look = ListedBlobs.__contains__

    def counted(blobs: ListedBlobs, key: object) -> bool:
        looks["at all blobs"] += 1
        return look(blobs, key)

    monkeypatch.setattr(ListedBlobs, "__contains__", counted)

    def behave(request: Request, ask: Callable[[Request], Reply]) -> Reply:
        parts = urlsplit(request.path)
        left = [word for word in parts.query.split("&") if not word.startswith("start-after=")]
        changed = replace(request, path=f"{parts.path}?{'&'.join(left)}" if parts.query else request.path)
        reply = ask(changed)
        if lists(request) and hiding and "max-keys" not in request.path:
            hiding.clear()  # the first list lacks an object, and the later ones do not
            return replace(reply, body=reply.body.replace(b"points/b<", b"points/a<"))
        return reply

    with front(moto_server, behave) as server:
        place = S3Location(bucket=server.bucket, prefix=f"fronts/{uuid.uuid4()}")
        store = S3BlobStore(place, S3Access(place, server.credentials))
        for key in ("points/a", "points/b", "points/c"):
            store.put(key, b"1")
        confirm_lists(store)
        if not hidden:
            assert [blob.key for blob in store.list("points/")] == ["points/a", "points/b", "points/c"]
            assert looks["at all blobs"] == 1, "a look at each blob for each blob would take hours"
            return
        hiding.append("points/b")

        with pytest.raises(StoreError, match="not all that there are"):
            list(store.list("points/"))
