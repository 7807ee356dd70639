"""A point's disks as images, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from tests.command_line import run_here
from tests.patience import HANG
from vmkeep.errors import CorruptError, NotFoundError, StoreFullError, UsageError, VerificationError
from vmkeep.images import (
    LocalPlace,
    check_export_name,
    export_point,
    import_images,
    localdrafts,
    safe_name,
)
from vmkeep.images.exportwork import ExportWork
from vmkeep.model.exports import ImageFormat, parse_manifest
from vmkeep.model.overwrite import Verify
from vmkeep.repository import create_repository, open_repository

MIB = 1 << 20
IMAGES = [form for form in ImageFormat if form is not ImageFormat.OVA]
"""Formats that are files of single disks."""
_QEMU = {ImageFormat.RAW: "raw", ImageFormat.QCOW2: "qcow2"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A repository with a point of two disks of odd sizes: some data, and one block behind a long hole."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "0").write_bytes(random.Random(1).randbytes(MIB) + bytes(4 * MIB) + b"end".ljust(512, b"\0"))
    with (folder / "1").open("wb") as disk:
        disk.seek(3 * MIB - 512)
        disk.write(random.Random(2).randbytes(1536))
        disk.truncate(70 * MIB + 512)
    repository = create_repository(str(folder / "repo"))
    point = import_images(repository, [folder / "0", folder / "1"], name="web")
    return folder, repository, point


def export(sample, out, **changed):
    _, repository, point = sample
    given = {"form": ImageFormat.RAW, "name": "web", "on_progress": lambda _: lambda _: None} | changed
    return export_point(repository, point, LocalPlace(out), **given)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("form", "verify"),
    [*((form, Verify.ALL) for form in IMAGES), (ImageFormat.RAW, Verify.NONE), (ImageFormat.QCOW2, Verify.SAMPLE)],
)
def test_qemu_finds_every_image_equal_to_its_disk(sample, tmp_path, form, verify):
    exported = export(sample, tmp_path, form=form, verify=verify)

    for disk in exported.disks:
        image, original = tmp_path / disk.files[0].name, sample[0] / str(disk.number)
        compare = ["qemu-img", "compare", "-f", "raw", "-F", _QEMU.get(form, "vmdk"), str(original), str(image)]
        assert subprocess.run(compare, check=True, capture_output=True, text=True).stdout == "Images are identical.\n"
        assert (disk.bytes_compared > 0) == (verify is not Verify.NONE)
    held = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert held < 4 * MIB  # holes stay holes


def test_the_manifest_names_the_root_of_each_disk_and_every_file(sample, tmp_path):
    exported = export(sample, tmp_path)

    manifest = (tmp_path / "web.export.json").read_bytes()
    assert parse_manifest(manifest, what="web.export.json") == exported
    assert [disk.root for disk in exported.disks] == [image.root for image in sample[2].images]
    files = {file.name: file.size for disk in exported.disks for file in disk.files}
    assert files == {name: (tmp_path / name).stat().st_size for name in names(tmp_path) if name.endswith(".raw")}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"vmkeep_export": 1}', b'{"vmkeep_export": 2}', b"\xff" * 9])
def test_a_manifest_that_is_none_is_refused_by_name(content):
    with pytest.raises(UsageError, match=r"x\.json"):
        parse_manifest(content, what="x.json")


def test_a_manifest_cannot_name_a_file_outside_its_folder(sample, tmp_path):
    export(sample, tmp_path)
    plain = json.loads((tmp_path / "web.export.json").read_bytes())
    plain["disks"][0]["files"][0]["name"] = "../other"
    with pytest.raises(UsageError, match="no file's name"):
        parse_manifest(json.dumps(plain).encode(), what="x.json")


def test_chosen_disks_only_are_exported(sample, tmp_path):
    assert [disk.number for disk in export(sample, tmp_path, numbers=[1, 1]).disks] == [1]
    with pytest.raises(NotFoundError, match="holds no disk 2: it holds 0 "):
        export(sample, tmp_path, numbers=[2])


@pytest.mark.parametrize("form", [ImageFormat.RAW, ImageFormat.QCOW2])
def test_a_damaged_block_is_named_and_nothing_is_published(sample, tmp_path, form):
    folder, _, point = sample
    shutil.copytree(folder / "repo", tmp_path / "repo")
    pack = max((tmp_path / "repo" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[MIB // 2] ^= 1
    pack.write_bytes(content)
    damaged = open_repository(str(tmp_path / "repo"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CorruptError, match=r"Hard disk 1, byte \d+: "):
        export((folder, damaged, point), out, form=form)
    assert not names(out)


@pytest.mark.parametrize("form", IMAGES)
def test_an_image_that_reads_back_otherwise_is_never_published(sample, tmp_path, monkeypatch, form):
    def spoil(draft):
        images = [path for path in draft.folder.iterdir() if path.name.startswith("web-disk1")]
        image = max(images, key=lambda path: path.stat().st_size)
        content, data = image.read_bytes(), random.Random(2).randbytes(64)
        with image.open("r+b") as file:
            file.seek(
                content.index(data) if data in content else (64 << 10) + 32
            )  # in the first grain that is compressed
            file.write(b"spoilt")

    monkeypatch.setattr(localdrafts.LocalDraft, "complete", spoil)
    with pytest.raises(VerificationError, match=r"Hard disk 2: .*reads back"):
        export(sample, tmp_path, form=form)
    assert not names(tmp_path)


def test_an_error_of_one_disk_ends_the_work_on_the_others_soon():
    work = ExportWork(None, None, ImageFormat.RAW, Verify.ALL, at_once=2, check=lambda: None)
    begun = threading.Event()

    def fail_or_go_on(number):
        if number == 0:
            assert begun.wait(HANG)
            raise StoreFullError("full")
        begun.set()
        end = time.monotonic() + HANG
        while time.monotonic() < end:  # as the writing of a large disk
            work._go_on()
            time.sleep(0.01)
        pytest.fail("nobody stopped the other disk")

    with pytest.raises(StoreFullError):
        work._each([0, 1], fail_or_go_on)
    assert work._stop.is_set()


def test_without_room_nothing_begins(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(LocalPlace, "free", lambda self: MIB)
    with pytest.raises(StoreFullError, match=r"1\.0 MiB are free, and the export needs 1\.5 MiB"):
        export(sample, tmp_path)
    assert not names(tmp_path)


@pytest.mark.parametrize("form", [ImageFormat.RAW, ImageFormat.STREAM])
def test_a_file_system_that_is_full_is_named_and_gets_its_space_back(sample, tmp_path, monkeypatch, form):
    def full(file, data, offset):
        if offset + len(data) < 64 << 10:
            return pwrite(file, data, offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFullError, match="no space left: No space left on device; nothing was exported"):
        export(sample, tmp_path, form=form)
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("vm", "name"),
    [
        ("web01", "web01"),
        ("a/b\\c:d", "a-b-c-d"),
        ("..", "vm"),
        ("", "vm"),
        ("../../etc/passwd", "etc-passwd"),
        ("zwölf 日本", "zwölf 日本"),
        ("line\nbreak\udc80", "line-break"),
        ("日" * 200, "日" * 60),
        (" .hidden ", "hidden"),
    ],
)
def test_a_name_of_a_vm_becomes_one_that_every_file_system_holds(vm, name):
    assert safe_name(vm) == name
    assert check_export_name(name) == name


def test_a_name_that_is_given_and_not_safe_is_refused_with_one_that_is():
    with pytest.raises(UsageError, match="'etc-web' can"):
        check_export_name("../etc/web")


def test_the_command_exports_and_refuses_what_is_there(sample, tmp_path):
    folder, _, point = sample
    line = ["point", "export", "latest:web", "--format", "raw", "--out", str(tmp_path), "-r", str(folder / "repo")]

    done = run_here(*line, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["point"] == point.ref
    before = (tmp_path / "web-disk0.raw").stat().st_ino
    again = run_here(*line)
    assert again.returncode == 12
    assert "exists already; nothing was exported: give another --name, or --force" in again.stderr
    assert (tmp_path / "web-disk0.raw").stat().st_ino == before
    forced = run_here(*line, "--force", "--disk", "0")
    assert forced.returncode == 0
    assert f"{tmp_path}/web-disk1.raw: removed with the export that was replaced" in forced.stdout
    assert names(tmp_path) == ["web-disk0.raw", "web.export.json"]
    assert run_here(*line, "--force").returncode == 0
    assert (tmp_path / "web-disk0.raw").read_bytes() == (folder / "0").read_bytes()
    assert names(tmp_path) == ["web-disk0.raw", "web-disk1.raw", "web.export.json"]
