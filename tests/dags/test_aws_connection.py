"""Airflow's ``aws`` connection, through the Amazon provider's hook, against a real S3 server and its roles."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid

import pytest

from tests.kms import key_server
from tests.sealed import store_file
from vmkeep.blobs.locking import LockMode, LockRule, delete_unlocked
from vmkeep.blobs.s3 import s3access
from vmkeep.blobs.s3.s3access import S3Access, parse_location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.errors import AuthenticationError, RepositoryError, TransientError, UsageError
from vmkeep.repository import create_encrypted_repository, create_repository, open_site_repository
from vmkeep.repository.unlock import descriptor
from vmkeep.transfer import renewal, start_copy
from vmkeep_airflow.hooks.aws import load_aws
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.site import make_site


@pytest.fixture(autouse=True)
def no_aws(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def connections(monkeypatch, s3_server):
    location = f"s3://{s3_server.bucket}/{uuid.uuid4()}"

    def add(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    add("vc", conn_type="vsphere", host="vc", login="u", password="p")
    add("repo", conn_type="vmkeep", host=location, extra={"aws_conn_id": "store"})
    return add


def _keys(server, **extra):
    return {
        "conn_type": "aws", "login": server.access_key, "password": server.secret_key,
        "extra": {"endpoint_url": server.endpoint, "region_name": "us-east-1", **extra},
    }  # fmt: skip


def _role(server):
    return _keys(server, role_arn=server.role, service_config={"sts": {"endpoint_url": server.endpoint}})


def _site():
    return make_site(vsphere_conn_id="vc", repository_conn_id="repo")


def _create(site):
    place = parse_location(site.repository)
    store = S3BlobStore(place, S3Access(place, site.aws))
    descriptor.create(store, descriptor.new_descriptor(block_size=262144, compression="zstd"))


@pytest.mark.parametrize("connection", [_keys, _role], ids=["keys", "an assumed role"])
def test_a_repository_is_opened_with_the_keys_of_the_aws_connection(connections, s3_server, connection):
    connections("store", **connection(s3_server))
    site = _site()
    _create(site)

    with open_site_repository(site) as repository:
        assert store_file(repository, b"content", run="run") is not None
    assert RepositoryHook("repo").test_connection()[0] is True
    assert s3_server.secret_key not in repr(site)
    assert site.aws.token not in repr(site) or not site.aws.token


def test_an_s3_endpoint_of_its_own_goes_before_the_connections(connections, s3_server):
    service = {"s3": {"endpoint_url": s3_server.endpoint}, "kms": {"endpoint_url": "http://kms"}}
    connections("store", **_keys(s3_server, endpoint_url="http://127.0.0.1:1", service_config=service))

    aws = _site().aws

    assert (aws.endpoint, aws.kms_endpoint, aws.region) == (s3_server.endpoint, "http://kms", "us-east-1")
    assert aws.renew is None


def test_keys_of_a_role_are_renewed_where_the_connection_is(connections, s3_server, monkeypatch):
    connections("store", **_role(s3_server))
    monkeypatch.setattr(s3access, "_TTL", s3access.timedelta(seconds=0))
    site = _site()
    asked = []

    def renew():
        asked.append(site.aws.renew())  # a role of 15 minutes is near its end from the beginning
        return asked[-1]

    place = parse_location(site.repository)
    store = S3BlobStore(place, S3Access(place, dataclasses.replace(site.aws, renew=renew)))
    store.put("a", b"1")
    time.sleep(0.15)  # the client asks ten times a second at the most
    store.put("b", b"2")

    assert len({keys.access_key for keys in asked}) >= 2
    assert store.get("b") == b"2"


def test_a_transfers_process_works_with_keys_that_its_parent_renews(connections, s3_server, place, monkeypatch):
    connections("store", **_role(s3_server))
    remote = _site()
    _create(remote)
    monkeypatch.setattr(renewal, "EVERY", 0.0)
    told = []

    def renew():
        told.append(remote.aws.renew())
        return told[-1]

    aws = dataclasses.replace(remote.aws, renew=renew)
    site = dataclasses.replace(place.site, repository=remote.repository, aws=aws)

    with start_copy(site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        done = running.wait()

    assert done.bytes_read == len(place.content)
    assert told
    with open_site_repository(site) as repository:
        assert repository.open_map(done.root)


def test_a_transfers_process_locks_what_it_stores(connections, s3_server, place):
    server = s3_server.with_versions()
    connections("store", **_role(server))
    connections("repo", conn_type="vmkeep", host=f"s3://{server.bucket}/{uuid.uuid4()}", extra={"aws_conn_id": "store"})
    remote = _site()
    location, aws = remote.repository, remote.aws
    rule = LockRule(mode=LockMode.GOVERNANCE, days=1)
    descriptor.create(
        S3BlobStore(parse_location(location), S3Access(parse_location(location), aws)),
        descriptor.new_descriptor(block_size=262144, compression="zstd", lock=rule),
    )

    site = dataclasses.replace(place.site, repository=location, aws=aws)
    with start_copy(site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        running.wait()

    with open_site_repository(site) as repository:
        packs = [blob.key for blob in repository.blobs.list("packs/")]
        assert packs
        assert [delete_unlocked(repository.blobs, key) for key in packs] == [False] * len(packs)


def test_a_renewal_that_fails_is_asked_for_again(connections, s3_server):
    connections("store", **_role(s3_server))
    said, answers = [], [TransientError("not now"), load_aws("store")]

    def renew():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    renewer = renewal.Renewer(dataclasses.replace(load_aws("store"), renew=renew), said.append)
    renewer._asked_at -= renewal.EVERY
    renewer.poll()
    assert said == []
    renewer.poll()
    assert len(answers) == 1  # not at once
    renewer._asked_at -= renewal.EVERY
    renewer.poll()

    assert len(said) == 1
    child = renewal.Renewed(load_aws("store"))
    child.take(said[0].rstrip())
    assert child.newest().token == renewer._known.token


def test_the_connections_keys_open_a_repository_whose_key_kms_keeps(connections, s3_server):
    with key_server() as kms:  # it knows the same keys as the S3 server
        service = {"s3": {"endpoint_url": s3_server.endpoint}, "kms": {"endpoint_url": kms.endpoint}}
        connections("store", **_keys(s3_server, service_config=service))
        site = _site()
        create_encrypted_repository(site.repository, passphrase=None, kms_key=kms.key, aws=site.aws)

        with open_site_repository(_site()) as repository:
            assert repository.encrypted
        assert RepositoryHook("repo").test_connection()[0] is True


def test_a_missing_aws_connection_is_named_and_not_taken_for_an_empty_one(connections):
    with pytest.raises(UsageError, match="'store' does not exist: create it under Admin > Connections, type 'aws'"):
        _site()


def test_a_connection_without_keys_on_a_worker_without_keys_is_told(connections):
    connections("store", conn_type="aws")
    with pytest.raises(AuthenticationError, match="'store' has no keys, and this worker has none"):
        _site()


def test_a_role_that_is_refused_is_told(connections, s3_server):
    fields = _role(s3_server)
    fields["extra"]["role_arn"] = "arn:aws:iam::000000000000:role/another"
    connections("store", **fields)
    with pytest.raises(AuthenticationError, match=r"'store': no AWS credentials: .*AccessDenied"):
        _site()


def test_a_token_service_that_is_not_there_may_be_tried_again(connections, s3_server):
    fields = _role(s3_server)
    fields["extra"]["service_config"] = {"sts": {"endpoint_url": "http://127.0.0.1:1"}}
    connections("store", **fields)
    with pytest.raises(TransientError, match=r"'store': no AWS credentials: .*127\.0\.0\.1:1"):
        _site()


def test_verification_cannot_be_switched_off(connections, s3_server):
    connections("store", **_keys(s3_server, verify=False))
    with pytest.raises(UsageError, match="set verify to a PEM file"):
        _site()


def test_a_worker_without_the_connection_takes_its_own_environment(connections, s3_server, monkeypatch):
    connections("repo", conn_type="vmkeep", host=f"s3://{s3_server.bucket}/{uuid.uuid4()}")
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    site = _site()
    assert site.aws is None
    create_repository(site.repository)

    with pytest.raises(RepositoryError, match="is not encrypted"):
        open_site_repository(dataclasses.replace(site, passphrase="something"))
