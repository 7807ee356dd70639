"""Which prefixes a repository on S3 can have, and what becomes of objects there that are none of ours."""

from __future__ import annotations

import uuid

import pytest

from tests.sealed import store_file
from vmkeep.blobs.aws.client import AwsClient
from vmkeep.blobs.opening import create_store, open_store
from vmkeep.blobs.s3.s3access import parse_location
from vmkeep.errors import UsageError
from vmkeep.repository import create_repository, open_repository
from vmkeep.testing.servers import MOTO_PAGE, S3Server

PREFIXES = [
    "a b", " a", "a ", "ü", "u\u0308", "日本", "😀", "a+b", "a%20b", "a%b", "100%", "a&b", "a'b", "a(b)!$;", "~a", ".a",
    "a..b", "...", "a=b,c:d@e", "a*b", 'a"b', "<a>|^`{}[]", "a#b", "a?b=c", "x" * 200,
]  # fmt: skip


@pytest.fixture(params=["seaweedfs", "moto", "seaweedfs with versions", "moto with versions"])
def server(request: pytest.FixtureRequest) -> S3Server:
    name = "s3_server" if request.param.startswith("seaweedfs") else "moto_server"
    found: S3Server = request.getfixturevalue(name)
    return found.with_versions() if request.param.endswith("versions") else found


def _client(server):
    return AwsClient("s3", server.credentials, endpoint=server.endpoint, region="us-east-1").get()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_blanks_umlauts_and_signs_in_a_prefix_work_and_mean_themselves(server, prefix):
    above = uuid.uuid4()
    store = open_store(f"s3://{server.bucket}/{above}/{prefix}/repo", credentials=server.credentials)
    beside = open_store(f"s3://{server.bucket}/{above}/{prefix.strip()}-/repo", credentials=server.credentials)

    store.put("a/b", b"1")
    store.replace("a/c", b"2")
    store.replace("a/c", b"23")
    beside.put("a/d", b"4")

    assert [info.key for info in store.list("")] == ["a/b", "a/c"]
    assert (store.get("a/b"), store.get_range("a/c", 1, 1), store.size("a/c")) == (b"1", b"3", 2)
    keys = [
        entry["Key"] for entry in _client(server).list_objects_v2(Bucket=server.bucket, Prefix=f"{above}/")["Contents"]
    ]
    assert f"{above}/{prefix}/repo/a/b" in keys
    store.delete("a/b")
    store.delete("a/c")
    assert list(store.list("")) == []
    assert [info.key for info in beside.list("")] == ["a/d"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("s3://bucket//a", "a '/' at its beginning or two together"),
        ("s3://bucket/a//b", "a '/' at its beginning or two together"),
        ("s3://bucket/a//", "a '/' at its beginning or two together"),
        ("s3://bucket/a/./b", "'.' or '..' as a part"),
        ("s3://bucket/..", "'.' or '..' as a part"),
        ("s3://bucket/a\nb", r"contains '\\n'"),
        ("s3://bucket/a\tb", r"contains '\\t'"),
        ("s3://bucket/a\\b", r"contains '\\\\'"),
        ("s3://bucket/a\udc80", r"contains '\\udc80'"),
        ("s3://bucket/" + "ü" * 257, "is too long"),
    ],
)
def test_another_prefix_is_refused_with_the_rule_and_the_location(location, why):
    with pytest.raises(UsageError, match=f"because it .*{why}.*any letters, blanks and signs") as raised:
        parse_location(location)
    assert str(raised.value).startswith(f"{location}: ")


@pytest.mark.parametrize(
    "location", ["s3://Bucket/a", "s3://b/a", "s3:///a", "s3://my_bucket", "s3://a:b@bucket", "S3://bucket"]
)
def test_another_bucket_is_refused_with_the_rule_and_the_location(location):
    with pytest.raises(UsageError, match="3 to 63 small letters") as raised:
        parse_location(location)
    assert str(raised.value).startswith(f"{location}: ")


@pytest.mark.parametrize(
    "foreign",
    ["packs//x", "packs/a//", "packs/", "packs/./y", "packs/a b", "packs/ü", "index//x", "keys/a b", "/lead", ""],
)
def test_objects_that_are_none_of_ours_hinder_nothing(moto_server, foreign, caplog):
    location = f"s3://{moto_server.bucket}/{uuid.uuid4()}"
    create_repository(location, aws=moto_server.credentials)
    key = f"{parse_location(location).prefix}/{foreign}"
    _client(moto_server).put_object(Bucket=moto_server.bucket, Key=key, Body=b"" if key.endswith("/") else b"x")

    repository = open_repository(location, aws=moto_server.credentials)

    assert repository.check(read_data=True) == []
    root, size = store_file(repository, b"content", run="run")
    assert (len(root), size) == (64, 7)
    assert [info.key for info in repository.blobs.list("") if info.key == foreign] == []


@pytest.mark.parametrize("foreign", ["", "probes//x", "probes/", "/"])
def test_the_marker_of_an_empty_folder_does_not_hinder_a_new_repository(moto_server, foreign):
    location = f"s3://{moto_server.bucket}/{uuid.uuid4()}"
    key = f"{parse_location(location).prefix}/{foreign}"
    _client(moto_server).put_object(Bucket=moto_server.bucket, Key=key, Body=b"")

    assert create_repository(location, aws=moto_server.credentials).check() == []


def test_a_listing_past_a_foreign_object_has_every_page(moto_server):
    store = create_store(f"s3://{moto_server.bucket}/{uuid.uuid4()}", credentials=moto_server.credentials)
    prefix = parse_location(store.location).prefix
    client = _client(moto_server)
    numbers = range(MOTO_PAGE + 5)
    for number in numbers:
        client.put_object(Bucket=moto_server.bucket, Key=f"{prefix}/packs/{number:04}", Body=b"")
    client.put_object(Bucket=moto_server.bucket, Key=f"{prefix}/packs//x", Body=b"")

    assert [info.key for info in store.list("packs/")] == [f"packs/{number:04}" for number in numbers]
