"""Object Lock on a real S3 server: what a stolen credential can do, and what it cannot."""

from __future__ import annotations

import dataclasses
import json
import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from tests.fronts import front, refusal, refusing
from tests.sealed import CHEAP, PASSPHRASE, store_file
from vmkeep.blobs.aws.client import AwsClient
from vmkeep.blobs.locking import LockMode, LockRule, delete_unlocked, locks_of
from vmkeep.blobs.opening import create_store, open_store
from vmkeep.blobs.s3 import versions
from vmkeep.blobs.s3.s3access import S3Access, parse_location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.blobs.store import backend
from vmkeep.cli.main import cli
from vmkeep.errors import (
    BlobNotFoundError,
    ConflictError,
    CorruptError,
    LockedError,
    RepositoryError,
    StoreError,
    UnlockedError,
    UsageError,
)
from vmkeep.flows.doctor import State, examine, repository_subject
from vmkeep.flows.upkeep import keep_locks, require_kept
from vmkeep.images import export_image, import_images
from vmkeep.maintenance.locks import bring_back, extend_locks, find_hidden, needed_packs
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.merge import plan_merge
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.lockedkeys import LOCKED_FOLDERS, is_locked
from vmkeep.repository.unlock import slots
from vmkeep.retention import RetentionRule
from vmkeep.testing import servers

MIB = 1 << 20
RULE = LockRule(mode=LockMode.COMPLIANCE, days=30)
BUCKET = "locked"
QUICK = (1.5, 6.0, 24.0)
"""Seconds of a probe's lock, shorter than the product's, because the test waits for its end."""
_PROVE = S3Versions._prove
_CHECK = S3BlobStore.check_creates


@pytest.fixture(scope="session")
def bucket(s3_server):
    """A bucket with Object Lock on the shared server."""
    _client(s3_server).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return BUCKET


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leave out two probes that wait, and have tests of their own: for a lock to end, and for losers of a race."""
    monkeypatch.setattr(S3Versions, "_prove", lambda self: None)
    monkeypatch.setattr(S3BlobStore, "check_creates", lambda self: None)
    monkeypatch.setattr(slots, "COST", CHEAP)


@pytest.fixture
def location(bucket):
    return f"s3://{bucket}/{uuid.uuid4()}"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(random.Random(5).randbytes(3 * MIB))
    return path


@pytest.fixture
def repository(s3_server, location):
    return create_repository(location, lock=RULE, aws=s3_server.credentials)


@pytest.fixture
def thief(s3_server):
    """Amazon's own client with the same credentials as ours."""
    return _client(s3_server)


def _client(server):
    return AwsClient("s3", server.credentials, endpoint=server.endpoint, region="us-east-1").get()


def _objects(client, location, *, under=""):
    """Return key → versions and marks of a repository's objects, newest first."""
    prefix = parse_location(location).prefix
    page = client.list_object_versions(Bucket=BUCKET, Prefix=f"{prefix}/{under}")
    found = {}
    for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
        found.setdefault(entry["Key"].removeprefix(f"{prefix}/"), []).append(entry)
    return found


def _until(client, entry):
    try:
        answer = client.get_object_retention(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    except ClientError:
        return None
    return answer["Retention"]["RetainUntilDate"]


def _steal(client, location):
    """Overwrite or delete everything that can be, as someone with our keys would."""
    for number, kept in enumerate(_objects(client, location).values()):
        if number % 2:
            client.put_object(Bucket=BUCKET, Key=kept[0]["Key"], Body=b"pay us")
        client.delete_object(Bucket=BUCKET, Key=kept[0]["Key"])
        if number % 3 == 0:
            client.put_object(Bucket=BUCKET, Key=kept[0]["Key"], Body=b"pay us more")


def test_all_that_a_restore_needs_is_locked_and_nothing_else(repository, location, image, thief):
    import_images(repository, [image], name="web")
    objects = _objects(thief, location)
    due = datetime.now(UTC) + RULE.period

    assert {key.partition("/")[0] for key in objects if is_locked(key)} >= {"vmkeep.json", "packs", "index", "points"}
    for key, kept in objects.items():
        until = _until(thief, kept[0])
        assert len(kept) == 1
        assert (until is not None) == is_locked(key), key
        assert until is None or abs(until - due) < timedelta(minutes=5)
    assert create_store(location + "x", credentials=repository.blobs.inner.inner._access.credentials)


def test_a_stolen_credential_can_neither_shorten_nor_delete_nor_replace(
    repository, location, image, thief, s3_server, tmp_path
):
    point = import_images(repository, [image], name="web")
    for kept in [found for key, found in _objects(thief, location).items() if is_locked(key)]:
        where = {"Bucket": BUCKET, "Key": kept[0]["Key"], "VersionId": kept[0]["VersionId"]}
        until = _until(thief, kept[0])
        for mode, date in (("COMPLIANCE", until - timedelta(days=1)), ("GOVERNANCE", until)):
            with pytest.raises(ClientError, match="AccessDenied"):
                thief.put_object_retention(**where, Retention={"Mode": mode, "RetainUntilDate": date})
        with pytest.raises(ClientError, match="AccessDenied"):
            thief.delete_object(**where)
        with pytest.raises(ClientError, match="AccessDenied"):
            thief.delete_object(**where, BypassGovernanceRetention=True)
        assert _until(thief, kept[0]) == until
    with pytest.raises(ClientError):
        thief.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(ClientError):
        thief.delete_bucket(Bucket=BUCKET)
    _steal(thief, location)
    with pytest.raises((RepositoryError, CorruptError, BlobNotFoundError)):
        open_repository(location, aws=s3_server.credentials).load_point(point.ref)

    store = create_store(location, credentials=s3_server.credentials)
    hidden = {each.key for each in find_hidden(store)}
    brought = {each.key for each in bring_back(store)}

    assert brought == hidden
    assert {key.partition("/")[0] for key in hidden} == {"vmkeep.json", "packs", "index", "points"}
    assert find_hidden(store) == []
    again = open_repository(location, aws=s3_server.credentials)
    assert again.check(read_data=True) == []
    export_image(again, again.load_point(point.ref), 0, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == image.read_bytes()


def test_what_was_overwritten_is_never_taken_for_what_was_stored(repository, location, image, thief, s3_server):
    point = import_images(repository, [image], name="web")
    for kept in _objects(thief, location, under="packs/").values():
        content = bytearray(thief.get_object(Bucket=BUCKET, Key=kept[0]["Key"])["Body"].read())
        content[len(content) // 2] ^= 1
        thief.put_object(Bucket=BUCKET, Key=kept[0]["Key"], Body=bytes(content))

    again = open_repository(location, aws=s3_server.credentials)
    assert again.check(read_data=True)
    with pytest.raises(CorruptError):
        export_image(again, again.load_point(point.ref), 0, image.with_suffix(".out"))


def test_a_version_that_a_thief_has_locked_gets_a_copy_on_top(repository, location, image, thief, s3_server):
    import_images(repository, [image], name="web")
    key = next(iter(_objects(thief, location, under="points/").values()))[0]["Key"]
    thief.put_object(
        Bucket=BUCKET, Key=key, Body=b"ours now", ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=900),
    )  # fmt: skip
    store = create_store(location, credentials=s3_server.credentials)

    assert [each.what for each in find_hidden(store)] == ["overwritten"]
    assert len(bring_back(store)) == 1

    assert find_hidden(store) == []
    assert len(list(open_repository(location, aws=s3_server.credentials).points())) == 1


def _no_copies(status, code):
    return refusing(lambda request: request.copies, status, code)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "InvalidRequest"), (405, "MethodNotAllowed"), (501, "NotImplemented")]
)
def test_where_a_server_copies_no_old_version_on_top_its_bytes_are_put_anew(
    repository, location, image, thief, s3_server, status, code, tmp_path
):
    point = import_images(repository, [image], name="web")
    for key, kept in _objects(thief, location).items():
        if is_locked(key):
            thief.put_object(
                Bucket=BUCKET, Key=kept[0]["Key"], Body=b"ours now", ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=900),
            )  # fmt: skip
    with front(s3_server, _no_copies(status, code)) as server:
        store = open_store(location, credentials=server.credentials)
        assert bring_back(store)
        assert find_hidden(store) == []

    again = open_repository(location, aws=s3_server.credentials)
    assert again.check(read_data=True) == []
    export_image(again, again.load_point(point.ref), 0, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == image.read_bytes()


def test_bytes_that_come_back_as_others_are_not_taken_for_brought_back(repository, location, image, thief, s3_server):
    import_images(repository, [image], name="web")
    key = next(iter(_objects(thief, location, under="points/").values()))[0]["Key"]
    thief.put_object(
        Bucket=BUCKET, Key=key, Body=b"ours now", ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=900),
    )  # fmt: skip

    def garbled(request, ask):
        if request.copies:
            return refusal(400, "InvalidRequest")
        reply = ask(request)
        read_back = request.method == "GET" and request.path.endswith(key) and reply.body != b"ours now"
        if not read_back:
            return reply
        headers = {name: value for name, value in reply.headers.items() if "checksum" not in name.lower()}
        return dataclasses.replace(reply, headers=headers, body=bytes(len(reply.body)))

    with front(s3_server, garbled) as server, pytest.raises(StoreError, match="does not give back the bytes of"):
        bring_back(open_store(location, credentials=server.credentials))


@pytest.mark.parametrize("how", ["deleted", "overwritten"])
def test_a_descriptor_that_somebody_has_hidden_points_to_the_way_back(
    repository, location, image, thief, s3_server, how, monkeypatch
):
    import_images(repository, [image], name="web")
    key = _objects(thief, location, under="vmkeep.json")["vmkeep.json"][0]["Key"]
    if how == "deleted":
        thief.delete_object(Bucket=BUCKET, Key=key)
    else:
        thief.put_object(Bucket=BUCKET, Key=key, Body=b"pay us")

    with pytest.raises(CorruptError, match=f"vmkeep.json was {how} by somebody else.*'vmkeep repo lock --restore'"):
        open_repository(location, aws=s3_server.credentials)
    with pytest.raises(RepositoryError, match="is a repository already"):
        create_repository(location, aws=s3_server.credentials)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    CliRunner().invoke(cli, ["repo", "lock", "--restore", "-r", location], catch_exceptions=False)

    assert open_repository(location, aws=s3_server.credentials).check(read_data=True) == []


def test_a_place_that_never_had_a_repository_is_told_as_such_with_or_without_versions(s3_server, location):
    for place in (location, f"s3://{s3_server.bucket}/{uuid.uuid4()}"):
        with pytest.raises(RepositoryError, match="is not a vmkeep repository"):
            open_repository(place, aws=s3_server.credentials)


def test_locks_hold_after_the_server_was_killed_and_started_again(tmp_path):
    with servers.s3_server(tmp_path) as server:
        _client(server).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        repository = create_repository(f"s3://{BUCKET}/repo", lock=RULE, aws=server.credentials)
        stored = store_file(repository, b"content", run="run")
        keys = [key for key in _objects(_client(server), f"s3://{BUCKET}/repo") if is_locked(key)]
    with servers.s3_server(tmp_path) as server:
        again = open_repository(f"s3://{BUCKET}/repo", aws=server.credentials)
        for key in keys:
            with pytest.raises(LockedError, match=f"{key}: is locked until 20") as raised:
                again.blobs.delete(key)
            assert datetime.fromisoformat(raised.value.until) > datetime.now(UTC) + timedelta(days=29)

        assert again.open_map(stored[0]).shape.capacity == 7
        assert find_hidden(again.blobs) == []


@pytest.mark.parametrize("look", [find_hidden, bring_back])
def test_where_no_repository_is_nothing_is_said_to_be_untouched(location, s3_server, look):
    with pytest.raises(RepositoryError, match=r"no vmkeep\.json, in no version"):
        look(open_store(location, credentials=s3_server.credentials))


@pytest.mark.parametrize("look", [find_hidden, bring_back])
def test_a_bucket_without_versions_cannot_tell_what_was_deleted_and_says_so(s3_server, thief, look):
    bucket = f"plain-{uuid.uuid4()}"
    thief.create_bucket(Bucket=bucket)
    plain = create_repository(f"s3://{bucket}/repo", aws=s3_server.credentials)

    with pytest.raises(RepositoryError, match="keeps no versions"):
        look(plain.blobs)


def test_deleting_frees_every_version_unless_it_is_locked(repository, location, thief):
    store = repository.blobs
    for number in range(4):
        store.replace("runs/x/leases/a", b"%d" % number)
    store.put("runs/x/notes/b", b"note")
    assert [len(found) for found in _objects(thief, location, under="runs/").values()] == [1, 1]

    store.delete("runs/x/leases/a")
    store.delete("runs/x/notes/b")
    store.delete("runs/x/never-was")
    store.put("points/vm/p", b"point")

    assert _objects(thief, location, under="runs/") == {}
    assert delete_unlocked(store, "points/vm/p") is False
    assert store.get("points/vm/p") == b"point"
    assert find_hidden(store) == []


def test_another_stores_older_versions_go_with_the_first_replace(repository, location, thief, s3_server):
    place = parse_location(location)
    for number in range(3):
        S3BlobStore(place, S3Access(place, s3_server.credentials)).replace("runs/x/lease", b"%d" % number)

    assert [len(found) for found in _objects(thief, location, under="runs/").values()] == [1]


@pytest.mark.parametrize("lost", [StoreError("reset"), None])
def test_a_blob_that_could_not_be_locked_counts_as_not_put(repository, thief, location, monkeypatch, lost):
    """Neither settling nor a second put may take it for done."""
    retain, calls = S3Versions.retain, []

    def failing(self, *arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise StoreError("connection reset")
        return retain(self, *arguments)

    monkeypatch.setattr(S3Versions, "retain", failing)
    inner = backend(repository.blobs)
    if lost is None:
        with pytest.raises(UnlockedError, match="points/vm/p: could not be stored and locked"):
            inner.put("points/vm/p", b"point")
        assert inner.put("points/vm/p", b"point") is False
    else:
        repository.blobs.put("points/vm/p", b"point")

    assert len(calls) == 2
    assert _until(thief, next(iter(_objects(thief, location, under="points/").values()))[0]) is not None


def test_a_lock_does_not_let_a_second_put_change_a_blob(repository):
    repository.blobs.put("points/vm/p", b"point")

    with pytest.raises(ConflictError):
        repository.blobs.put("points/vm/p", b"other")


@pytest.mark.parametrize("hidden", ["one", "all"])
def test_locks_of_packs_that_somebody_has_hidden_are_extended_too(
    repository, location, image, thief, monkeypatch, s3_server, hidden
):
    """With one gone marking knows nothing of it, with all gone it comes to no end: then nothing may run out."""
    import_images(repository, [image], name="web")
    packs = _objects(thief, location, under="packs/")
    chosen = sorted(packs)[:1] if hidden == "one" else sorted(packs)
    for key in chosen:
        thief.delete_object(Bucket=BUCKET, Key=packs[key][0]["Key"])
    before = {key: _until(thief, packs[key][0]) for key in packs}
    now = S3Versions.now
    monkeypatch.setattr(S3Versions, "now", lambda self: now(self) + timedelta(days=16))

    report, unknown = keep_locks(open_repository(location, aws=s3_server.credentials))

    assert set(report.hidden) == set(chosen)
    assert all(_until(thief, packs[key][0]) - before[key] > timedelta(days=15) for key in packs)
    assert hidden == "one" or unknown
    with pytest.raises(CorruptError, match="--restore"):
        require_kept(location, report, unknown)


def test_locks_of_what_is_needed_are_extended_when_half_is_gone(repository, location, image, thief, monkeypatch):
    import_images(repository, [image], name="web")
    repository.blobs.put("packs/00/" + "00" * 16, b"nobody needs this")
    needed = needed_packs(repository)
    before = {key: _until(thief, found[0]) for key, found in _objects(thief, location).items() if is_locked(key)}
    now, passed = S3Versions.now, [timedelta(days=14)]
    monkeypatch.setattr(S3Versions, "now", lambda self: now(self) + passed[0])

    early = extend_locks(repository, needed)
    assert (early.extended, early.missing, early.hidden) == (0, (), ())
    passed[0] = timedelta(days=16)
    late = extend_locks(repository, needed)
    once_more = extend_locks(repository, needed)

    after = {key: _until(thief, found[0]) for key, found in _objects(thief, location).items() if is_locked(key)}
    longer = {key for key in before if after[key] > before[key]}
    assert all(after[key] >= before[key] for key in before)
    assert {key.partition("/")[0] for key in longer} == {"vmkeep.json", "packs", "points"}
    assert {key for key in longer if key.startswith("packs/")} == needed
    assert all(after[key] - before[key] > timedelta(days=15) for key in longer)
    assert (late.extended, once_more.extended) == (len(longer), 0)


def test_a_prune_and_a_merge_ask_for_nothing_that_is_locked(repository, location, tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / "disk.raw").write_bytes(random.Random(number).randbytes(MIB))
        import_images(repository, [tmp_path / "disk.raw"], name=f"vm{number}")
    margins = Margins(young_for=timedelta(0), condemned_for=timedelta(0), left_for=timedelta(0))
    rule = RetentionRule(keep_last=1)
    now, passed = S3Versions.now, [timedelta(0)]
    monkeypatch.setattr(S3Versions, "now", lambda self: now(self) + passed[0])

    plan = plan_prune(repository, rule, margins=margins, now=datetime.now(UTC))
    report = execute(repository, plan)
    assert (plan.margins.condemned_for, plan.swept, report.locked) == (RULE.period, {}, {})
    assert plan_merge(repository).sources == ()
    passed[0] = timedelta(days=31)
    assert len(plan_merge(repository).sources) == 4
    assert repository.check(read_data=True) == []


def test_no_prune_deletes_for_a_thief_what_he_could_only_hide(repository, location, image, thief, monkeypatch):
    point = import_images(repository, [image], name="web")
    _steal_points(thief, location)
    margins = Margins(young_for=timedelta(0), condemned_for=timedelta(0), left_for=timedelta(0))
    now, passed = S3Versions.now, [timedelta(days=31)]
    monkeypatch.setattr(S3Versions, "now", lambda self: now(self) + passed[0])
    assert list(repository.points()) == []

    with pytest.raises(CorruptError, match=r"nothing is deleted: run 'vmkeep repo lock --restore'"):
        plan_prune(repository, None, margins=margins, now=datetime.now(UTC))
    report, unknown = keep_locks(repository)
    assert unknown
    assert report.extended >= len(list(repository.blobs.list("packs/")))
    bring_back(repository.blobs)

    plan = plan_prune(repository, None, margins=margins, now=datetime.now(UTC))
    assert (plan.condemned, plan.swept) == ({}, {})
    assert repository.load_point(point.ref).id == point.id


def _steal_points(thief, location):
    for kept in _objects(thief, location, under="points/").values():
        thief.delete_object(Bucket=BUCKET, Key=kept[0]["Key"])


def test_an_extension_tells_what_is_missing_or_hidden(repository, location, image, thief):
    import_images(repository, [image], name="web")
    hidden = next(iter(_objects(thief, location, under="points/")))
    thief.delete_object(Bucket=BUCKET, Key=f"{parse_location(location).prefix}/{hidden}")

    with pytest.raises(CorruptError, match=r"deleted or overwritten 1 blob below points/"):
        needed_packs(repository)
    report = extend_locks(repository, ["packs/ff/none"])

    assert (report.missing, report.hidden) == (("packs/ff/none",), (hidden,))


def test_governance_can_be_lifted_by_who_has_the_right_to(s3_server, location, thief):
    rule = dataclasses.replace(RULE, mode=LockMode.GOVERNANCE)
    create_repository(location, lock=rule, aws=s3_server.credentials)
    found = _objects(thief, location)["vmkeep.json"][0]
    where = {"Bucket": BUCKET, "Key": found["Key"], "VersionId": found["VersionId"]}

    with pytest.raises(ClientError, match="AccessDenied"):
        thief.delete_object(**where)
    thief.delete_object(**where, BypassGovernanceRetention=True)


def test_where_nothing_can_be_locked_no_repository_is_made(s3_server, thief, tmp_path, monkeypatch):
    monkeypatch.setattr(S3BlobStore, "check_creates", _CHECK)
    with pytest.raises(RepositoryError, match=r"s3://vmkeep: has no Object Lock; make a bucket that has"):
        create_repository(f"s3://{s3_server.bucket}/{uuid.uuid4()}", lock=RULE, aws=s3_server.credentials)
    with pytest.raises(RepositoryError, match="only S3 with Object Lock can lock"):
        create_repository(str(tmp_path / "folder"), lock=RULE)
    thief.create_bucket(Bucket="defaults", ObjectLockEnabledForBucket=True)
    default = {"Mode": "GOVERNANCE", "Days": 1}
    thief.put_object_lock_configuration(
        Bucket="defaults",
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}},
    )
    with pytest.raises(RepositoryError, match="has a default retention, which would lock leases"):
        create_repository("s3://defaults/x", lock=RULE, aws=s3_server.credentials)
    for days in (0, -1, 40000):
        with pytest.raises(UsageError, match="choose 1 to"):
            LockRule(mode=LockMode.COMPLIANCE, days=days)


@pytest.mark.parametrize("honest", [True, False])
def test_a_server_has_to_prove_that_it_keeps_locks(s3_server, location, thief, monkeypatch, honest):
    monkeypatch.setattr(S3Versions, "_prove", _PROVE)
    monkeypatch.setattr(versions, "_PROBE_SECONDS", QUICK)
    if honest:
        create_repository(location, lock=RULE, aws=s3_server.credentials)
        assert _objects(thief, location, under="probes/") == {}
        return
    monkeypatch.setattr(S3Versions, "retain", lambda *_: None)
    with pytest.raises(RepositoryError, match="sets locks but does not keep them"):
        create_repository(location, lock=RULE, aws=s3_server.credentials)
    assert _objects(thief, location) == {}


@pytest.mark.parametrize(("honest", "state"), [(True, State.OK), (False, State.FAULT)])
def test_a_doctor_calls_locks_good_only_if_one_was_kept(s3_server, repository, monkeypatch, honest, state):
    monkeypatch.setattr(S3Versions, "_prove", _PROVE)
    monkeypatch.setattr(versions, "_PROBE_SECONDS", QUICK)
    if not honest:
        monkeypatch.setattr(S3Versions, "retain", lambda *_: None)

    report = examine([repository_subject(repository.location, lambda: repository, catalog=None)])

    found = {check.name: check.state for check in report.checks}
    assert found["locks"] is state
    assert found["free space"] is State.UNKNOWN
    assert {found[name] for name in ("open", "write and remove", "clock")} == {State.OK}


def test_a_server_that_answers_after_the_end_of_a_lock_is_asked_again_and_not_called_a_liar(
    s3_server, location, thief, monkeypatch
):
    monkeypatch.setattr(S3Versions, "_prove", _PROVE)
    monkeypatch.setattr(versions, "_PROBE_SECONDS", (0.0, 1.5, 6.0))
    create_repository(location, lock=RULE, aws=s3_server.credentials)
    assert _objects(thief, location, under="probes/") == {}

    monkeypatch.setattr(versions, "_PROBE_SECONDS", (0.0,))
    with pytest.raises(StoreError, match="whether it keeps locks is not known"):
        create_repository(f"{location}-slow", lock=RULE, aws=s3_server.credentials)
    assert _objects(thief, f"{location}-slow") == {}


def test_a_server_whose_clock_is_told_in_whole_seconds_is_not_called_a_liar(s3_server, location, monkeypatch):
    monkeypatch.setattr(S3Versions, "_prove", _PROVE)
    monkeypatch.setattr(versions, "_PROBE_SECONDS", (1.5, 8.0))  # the first lock would end in the past
    monkeypatch.setattr(S3Versions, "now", lambda self: datetime.now(UTC) - timedelta(seconds=1.9))
    create_repository(location, lock=RULE, aws=s3_server.credentials)


def test_a_probe_of_locks_that_cannot_be_removed_hides_no_verdict(s3_server, location, monkeypatch):
    monkeypatch.setattr(S3Versions, "_prove", _PROVE)
    monkeypatch.setattr(versions, "_PROBE_SECONDS", QUICK)
    held, refused = [], []

    def behave(request, ask):
        if request.method != "DELETE":
            return ask(request)
        if held:  # the lock has held, and has ended
            refused.append(request.path)
            return refusal(405, "MethodNotAllowed")
        reply = ask(request)
        if reply.status >= 400:
            held.append(request.path)
        return reply

    with front(s3_server, behave) as server:
        locks_of(open_store(location, credentials=server.credentials)).check()

    assert refused == held


def test_a_copy_of_the_repository_in_a_folder_stays_usable(repository, image, tmp_path):
    point = import_images(repository, [image], name="web")
    folder = tmp_path / "copied"
    for blob in repository.blobs.list(""):
        (folder / blob.key).parent.mkdir(parents=True, exist_ok=True)
        (folder / blob.key).write_bytes(repository.blobs.get(blob.key))

    copied = open_repository(str(folder))
    assert copied.descriptor.lock == RULE
    assert locks_of(copied.blobs) is None
    export_image(copied, copied.load_point(point.ref), 0, tmp_path / "out.raw")
    with pytest.raises(RepositoryError, match="only a bucket of S3 keeps versions"):
        extend_locks(copied, [])


def test_more_versions_than_one_page_of_a_listing(moto_server):
    server = moto_server.with_versions()
    location = f"s3://{server.bucket}/{uuid.uuid4()}"
    store, thief = open_store(location, credentials=server.credentials), _client(server)
    names = [f"{parse_location(location).prefix}/points/vm/{key}" for key in range(3)]
    for number in range(servers.MOTO_PAGE + 3):
        thief.put_object(Bucket=server.bucket, Key=names[number % 3], Body=b"%d" % number)
    thief.delete_object(Bucket=server.bucket, Key=names[1])
    found = {versions.key: versions for versions in locks_of(store).versions("points/")}

    assert [len(found[f"points/vm/{key}"].all) for key in range(3)] == [35, 35, 34]
    assert [found[f"points/vm/{key}"].trouble for key in range(3)] == ["overwritten", "deleted", "overwritten"]
    assert found["points/vm/2"].original.size == 1


def test_locks_from_the_command_line(s3_server, location, image, thief, monkeypatch, tmp_path):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VMKEEP_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("VMKEEP_REPOSITORY", location)

    def vmkeep(*arguments):
        done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False, standalone_mode=False)
        if done.exception:
            raise done.exception
        return json.loads(done.output)

    with pytest.raises(UsageError, match="need each other"):
        vmkeep("repo", "init", "--lock", "compliance")
    vmkeep("repo", "init", "--encrypt", "--lock", "compliance", "--lock-days", "3")
    point = vmkeep("image", "import", str(image), "--name", "web")["point"]
    assert vmkeep("repo", "lock") == {"restored": False, "found": []}
    assert vmkeep("repo", "lock", "--extend")["extended"] == 0
    _steal(thief, location)
    with pytest.raises(CorruptError, match="blobs hidden by somebody else"):
        vmkeep("repo", "lock")
    monkeypatch.delenv("VMKEEP_PASSPHRASE")
    found = vmkeep("repo", "lock", "--restore")["found"]
    monkeypatch.setenv("VMKEEP_PASSPHRASE", PASSPHRASE)

    assert {each["key"].partition("/")[0] + "/" for each in found} == {*LOCKED_FOLDERS, "vmkeep.json/"}
    vmkeep("image", "export", point, str(tmp_path / "out.raw"))
    assert (tmp_path / "out.raw").read_bytes() == image.read_bytes()
