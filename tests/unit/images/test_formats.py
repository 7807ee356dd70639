"""An image that is not raw is refused by name, before anything of it is stored."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.images import export_image, import_images
from vmkeep.repository import create_repository

SIZE = 1 << 20
RAW = random.Random(5).randbytes(SIZE)


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


def tarred(name):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(RAW)
        archive.addfile(info, io.BytesIO(RAW))
    return held.getvalue()


def zipped():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("disk.raw", RAW)
    return held.getvalue()


WRITTEN = {
    "compressed by gzip": lambda: gzip.compress(RAW),
    "compressed by xz": lambda: lzma.compress(RAW),
    "compressed by bzip2": lambda: bz2.compress(RAW),
    "compressed by zstd": lambda: bytes.fromhex("28b52ffd") + RAW,
    "compressed by lz4": lambda: bytes.fromhex("04224d18") + RAW,
    "a ZIP archive": zipped,
    "an XML file": lambda: b'<?xml version="1.0"?><domain/>',
}
MADE = {
    "a QED image": ("-f", "qed"),
    "a VHDX": ("-f", "vhdx"),
    "a VHD": ("-f", "vpc"),
    "a VHD of fixed size": ("-f", "vpc", "-o", "subformat=fixed,force_size=on"),
    "a VDI": ("-f", "vdi"),
    "a Parallels image": ("-f", "parallels"),
}


def assert_refused(repository, path, what):
    with pytest.raises(UsageError, match=rf"{path}: is {what}: .*--format raw"):
        import_images(repository, [path], name="a")
    assert [blob.key for blob in repository.blobs.list("")] == ["vmkeep.json"]


@pytest.mark.parametrize("what", WRITTEN)
def test_what_is_packed_or_only_describes_a_disk_is_refused_by_name(repository, tmp_path, what):
    path = tmp_path / "disk.raw"
    path.write_bytes(WRITTEN[what]())

    assert_refused(repository, path, what)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("what", MADE)
def test_an_image_of_another_hypervisor_is_refused_by_name(repository, tmp_path, what):
    path = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", *MADE[what], str(path), str(8 * SIZE)], check=True)

    assert_refused(repository, path, what)


def test_a_second_image_that_is_not_raw_stops_the_first_too(repository, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(RAW)
    bad.write_bytes(gzip.compress(RAW))

    with pytest.raises(UsageError, match="compressed by gzip"):
        import_images(repository, [good, bad], name="a")
    assert [blob.key for blob in repository.blobs.list("")] == ["vmkeep.json"]


def test_who_insists_gets_the_file_byte_by_byte(repository, tmp_path, monkeypatch):
    path = tmp_path / "a-qcow2-on-a-volume"
    path.write_bytes(b"QFI\xfb" + RAW[4:])
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))

    CliRunner().invoke(cli, ["image", "import", str(path), "--name", "a", "--format", "raw"], catch_exceptions=False)

    export_image(repository, repository.find_point("latest:a"), 0, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == path.read_bytes()


BEGINNINGS = [b"", b"\xeb\x63\x90", b"\x33\xc0\x8e\xd0", b"LABELONE", b"XFSB", b"hsqs", b"QFI", b"KDM"]


@pytest.mark.parametrize("head", BEGINNINGS)
def test_a_raw_disk_is_taken_whatever_boot_code_or_file_system_it_begins_with(repository, tmp_path, head):
    path = tmp_path / "disk.vmdk"
    path.write_bytes(head + bytes(SIZE - len(head)))

    assert import_images(repository, [path], name="a").images[0].disk.capacity == SIZE


def test_a_pipe_is_refused_and_not_waited_for(repository, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(NotFoundError, match="pipe: cannot be read"):
        import_images(repository, [tmp_path / "pipe"], name="a")
