"""Maintenance of a repository whose bucket keeps locks, on a real S3 server, through Airflow's ``aws`` connection."""

from __future__ import annotations

import json
import random
import uuid
from datetime import timedelta

import pytest

from vmkeep.blobs.aws.client import AwsClient
from vmkeep.blobs.locking import LockMode, LockRule
from vmkeep.blobs.s3.s3access import parse_location
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.images import import_images
from vmkeep.repository import create_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

BUCKET = "kept-by-airflow"


@pytest.fixture
def connections() -> dict[str, dict[str, object]]:
    """None from the start: no lab is needed."""
    return {}


@pytest.fixture
def bucket(s3_server, monkeypatch):
    monkeypatch.setattr(S3Versions, "_prove", lambda self: None)  # waits for its lock to end
    client = AwsClient("s3", s3_server.credentials, endpoint=s3_server.endpoint, region="us-east-1").get()
    client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return client


def test_locks_go_on_and_what_somebody_hid_turns_the_run_red(run_dag, bucket, s3_server, tmp_path, monkeypatch):
    location = f"s3://{BUCKET}/{uuid.uuid4()}"
    aws = {
        "conn_type": "aws", "login": s3_server.access_key, "password": s3_server.secret_key,
        "extra": {"endpoint_url": s3_server.endpoint, "region_name": "us-east-1"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(aws))
    repository = {"conn_type": "vmkeep", "host": location, "extra": {"aws_conn_id": "store"}}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(repository))
    image = tmp_path / "disk.raw"
    image.write_bytes(random.Random(5).randbytes(1 << 20))
    rule = LockRule(mode=LockMode.COMPLIANCE, days=30)
    with create_repository(location, lock=rule, aws=s3_server.credentials) as made:
        import_images(made, [image], name="web")

    young = run_dag("repository_maintenance")
    assert young.state == "success", young.states
    assert young.xcom("extend_locks")["extended"] == 0
    needed = young.xcom("extend_locks")["kept"]
    assert needed >= 4, "packs of blocks and of pages, manifest, descriptor"

    now = S3Versions.now
    monkeypatch.setattr(S3Versions, "now", lambda self: now(self) + timedelta(days=16))
    old = run_dag("repository_maintenance")
    assert old.state == "success", old.states
    assert old.xcom("extend_locks")["extended"] == needed
    assert old.xcom("report")["extend_locks"] == old.xcom("extend_locks")

    place = parse_location(location)
    pack = bucket.list_objects_v2(Bucket=BUCKET, Prefix=f"{place.prefix}/packs/")["Contents"][0]["Key"]
    bucket.delete_object(Bucket=BUCKET, Key=pack)
    robbed = run_dag("repository_maintenance")
    assert robbed.state == "failed"
    assert robbed.states["extend_locks"] == "failed"
