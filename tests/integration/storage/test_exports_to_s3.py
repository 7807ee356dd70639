"""Exports to S3: whole or not at all, and nothing of a killed one stays."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
import uuid
from dataclasses import replace

import pytest

from tests.command_line import run_here
from vmkeep.blobs import open_uploads
from vmkeep.errors import ConflictError, CorruptError, RepositoryError, StoreError, VerificationError
from vmkeep.flows import exports
from vmkeep.images import S3Place, export_point, import_images
from vmkeep.model.exports import ExportRequest, ImageFormat, parse_manifest
from vmkeep.model.overwrite import Verify
from vmkeep.repository import create_repository

MIB = 1 << 20
IMAGES = [form for form in ImageFormat if form is not ImageFormat.OVA]
"""Formats that are files of single disks."""
_DIES = """
import os, signal, sys
from vmkeep.blobs import open_uploads
from vmkeep.images import S3Place

with S3Place(open_uploads(sys.argv[1])).draft("web", overwrite=False) as draft:
    sink = draft.create("web.raw", size=10)
    sink.write_at(0, b"half")
    sink.finish(10)
    if sys.argv[2] == "complete":
        draft.complete()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A repository with a point of two disks, one of which needs several parts."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "0").write_bytes(random.Random(1).randbytes(MIB) + bytes(18 * MIB) + b"end".ljust(512, b"\0"))
    (folder / "1").write_bytes(b"one sector".ljust(512, b"\0"))
    repository = create_repository(str(folder / "repo"))
    return folder, repository, import_images(repository, [folder / "0", folder / "1"], name="web")


@pytest.fixture(params=["s3_server", "moto_server"])
def uploads(request):
    server = request.getfixturevalue(request.param)
    return open_uploads(f"s3://{server.bucket}/{uuid.uuid4()}", credentials=server.credentials)


def names(uploads):
    return sorted(found.name for found in uploads.list(""))


def open_ones(uploads):
    """Return the uploads that nobody has ended."""
    answer = uploads._client.get().list_multipart_uploads(Bucket=uploads._place.bucket, Prefix=uploads._place.prefix)
    return [each["Key"] for each in answer.get("Uploads", ())]


def export(sample, uploads, **changed):
    _, repository, point = sample
    given = {"form": ImageFormat.RAW, "name": "zwölf disks", "on_progress": lambda _: lambda _: None} | changed
    return export_point(repository, point, S3Place(uploads), **given)


@pytest.mark.parametrize("form", IMAGES)
def test_qemu_finds_the_objects_equal_to_the_disks(sample, s3_server, form, tmp_path):
    uploads = open_uploads(f"s3://{s3_server.bucket}/{uuid.uuid4()}", credentials=s3_server.credentials)

    exported = export(sample, uploads, form=form, verify=Verify.ALL)

    files = {file.name: file for disk in exported.disks for file in disk.files}
    assert names(uploads) == sorted([*files, exported.manifest])
    for name, file in files.items():
        content = uploads.get(name)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
        (tmp_path / name).write_bytes(content)
    for disk in exported.disks:
        kind = form if form in (ImageFormat.RAW, ImageFormat.QCOW2) else "vmdk"
        images = str(sample[0] / str(disk.number)), str(tmp_path / disk.files[0].name)
        compare = ["qemu-img", "compare", "-f", "raw", "-F", str(kind), *images]
        assert subprocess.run(compare, check=True, capture_output=True, text=True).stdout == "Images are identical.\n"


def test_an_ova_arrives_whole_and_qemu_finds_its_disks_equal(sample, s3_server, tmp_path):
    folder, repository, point = sample
    location = f"s3://{s3_server.bucket}/{uuid.uuid4()}"
    request = ExportRequest(point=point.ref, format=ImageFormat.OVA, out=location, name="web", verify=Verify.ALL)

    exports.export(repository, request, on_progress=lambda _: lambda _: None, aws=s3_server.credentials)

    uploads = open_uploads(location, credentials=s3_server.credentials)
    assert names(uploads) == ["web.export.json", "web.notes.txt", "web.ova"]
    assert b"Parts that do not come along" in uploads.get("web.notes.txt")
    with tarfile.open(fileobj=io.BytesIO(uploads.get("web.ova"))) as tar:
        assert tar.getnames() == ["web.ovf", "web.mf", "web-disk0.vmdk", "web-disk1.vmdk"]
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", tmp_path], input=uploads.get("web.ova"), check=True)
    for line in (tmp_path / "web.mf").read_text().splitlines():
        name, _, digest = line.removeprefix("SHA256(").partition(")= ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    for number in (0, 1):
        images = str(folder / str(number)), str(tmp_path / f"web-disk{number}.vmdk")
        compare = ["qemu-img", "compare", "-f", "raw", "-F", "vmdk", *images]
        assert subprocess.run(compare, check=True, capture_output=True, text=True).stdout == "Images are identical.\n"


def test_what_is_there_is_replaced_only_if_that_is_asked_for(sample, uploads):
    exported = export(sample, uploads)
    assert parse_manifest(uploads.get(exported.manifest), what="manifest") == exported

    with pytest.raises(ConflictError, match="exists already"):
        export(sample, uploads)
    again = export(sample, uploads, overwrite=True, numbers=[1])
    assert again.removed == (exported.disks[0].files[0].name,)
    assert parse_manifest(uploads.get(exported.manifest), what="manifest") == replace(again, removed=())


def test_a_retry_knows_the_objects_that_an_earlier_try_has_published(sample, uploads):
    lost = export(sample, uploads, run="run-1")
    before = sorted((found.name, found.modified) for found in uploads.list(""))

    assert export(sample, uploads, run="run-1", overwrite=True) == lost
    assert sorted((found.name, found.modified) for found in uploads.list("")) == before
    with pytest.raises(ConflictError, match="exists already"):
        export(sample, uploads, run="run-2")


def test_what_fails_leaves_neither_object_nor_upload(sample, uploads, monkeypatch):
    def stop():
        raise CorruptError("stop")

    with pytest.raises(CorruptError):
        export(sample, uploads, check=stop)
    kept = type(uploads).get_range
    monkeypatch.setattr(type(uploads), "get_range", lambda *given: bytes(len(kept(*given))))
    with pytest.raises(
        VerificationError, match="reads back something else than was written, in the 8388608 bytes from 0"
    ):
        export(sample, uploads)
    assert not names(uploads)
    assert not open_ones(uploads)


@pytest.mark.parametrize("when", ["sent", "complete"])
def test_the_next_export_removes_what_a_killed_one_left(sample, s3_server, when):
    location = f"s3://{s3_server.bucket}/{uuid.uuid4()}"
    uploads = open_uploads(location, credentials=s3_server.credentials)
    died = subprocess.run(
        [sys.executable, "-c", _DIES, location, when], env=os.environ | s3_server.environment, check=False
    )
    assert died.returncode == -9
    assert bool(open_ones(uploads)) == (when == "sent")
    assert ("web.raw" in names(uploads)) == (when == "complete")

    with S3Place(uploads).draft("mail", overwrite=False):
        assert not open_ones(uploads)
        assert len(names(uploads)) == 1
    assert not names(uploads)


@pytest.mark.parametrize("fails", ["complete", "get_range"])
def test_what_fails_before_it_replaced_an_object_leaves_the_older_export_as_it_was(sample, uploads, monkeypatch, fails):
    older = export(sample, uploads)
    before = {name: uploads.get(name) for name in names(uploads)}

    def broken(*given, **more):
        raise StoreError("the server is gone")

    monkeypatch.setattr(type(uploads), fails, broken)
    with pytest.raises(StoreError, match="is gone"):
        export(sample, uploads, overwrite=True)
    if fails == "complete":
        assert {name: uploads.get(name) for name in names(uploads)} == before
        assert not open_ones(uploads)
    else:  # the objects are replaced before they can be read back
        assert older.manifest not in names(uploads)


def test_a_replaced_export_goes_with_all_its_objects(sample, uploads):
    export(sample, uploads, form=ImageFormat.FLAT)
    again = export(sample, uploads, numbers=[1], overwrite=True)
    assert names(uploads) == sorted([again.manifest, *(file.name for file in again.disks[0].files)])


def test_an_answer_that_is_lost_neither_ends_an_export_nor_leaves_an_object(sample, uploads, monkeypatch):
    def losing(real):
        def call(*given, **more):
            real(*given, **more)
            raise StoreError("the answer is lost")

        return call

    monkeypatch.setattr(type(uploads), "complete", losing(type(uploads).complete))
    exported = export(sample, uploads)
    assert exported.manifest in names(uploads)


def test_two_exports_go_on_side_by_side_unless_they_have_one_name(uploads):
    place = S3Place(uploads)
    with place.draft("web", overwrite=False), place.draft("mail", overwrite=False):
        again = place.draft("web", overwrite=True)
        with pytest.raises(ConflictError, match="another process is exporting 'web'"):
            again.__enter__()
    assert not names(uploads)


def test_a_bucket_that_is_missing_is_named(sample, s3_server):
    nowhere = open_uploads("s3://no-such-bucket/x", credentials=s3_server.credentials)
    with pytest.raises(RepositoryError, match="no such bucket"):
        export(sample, nowhere)
    assert run_here("point", "export", "latest:web", "--format", "raw", "--out", "s3://no-such-bucket/x", "-r",
                    str(sample[0] / "repo"), **s3_server.environment).returncode == 60  # fmt: skip


def test_bytes_that_were_reserved_are_written_behind_later_ones(uploads):
    """As in an OVA, whose headers tell of the data behind them."""
    with S3Place(uploads).draft("web", overwrite=False) as draft:
        sink = draft.create("web.ova", size=40 * MIB, known=False)
        sink.reserve(8 * MIB - 2, 4)
        sink.write_at(0, b"first")
        sink.write_at(20 * MIB, b"data")
        sink.write_at(8 * MIB - 2, b"head")
        sink.finish(21 * MIB)
        draft.complete()
        content = uploads.get("web.ova")
    assert len(content) == 21 * MIB
    assert content.strip(b"\0")[:5] == b"first"
    assert content[8 * MIB - 2 : 8 * MIB + 2] == b"head"
    assert content[20 * MIB : 20 * MIB + 4] == b"data"
    assert content.count(0) == 21 * MIB - 13
