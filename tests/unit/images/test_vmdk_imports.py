"""A VMDK of any kind becomes the same restore point as the raw disk that it holds."""

import random
import subprocess

import pytest

from tests.ova import make_ova
from vmkeep.errors import UsageError
from vmkeep.images import import_images
from vmkeep.repository import create_repository

MIB = 1 << 20
SUBFORMATS = ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    path.write_bytes(random.Random(1).randbytes(MIB) + bytes(2 * MIB) + b"end!" * 128)
    return path


def convert(raw, path, subformat):
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path], check=True
    )
    return path


def test_each_kind_has_the_map_of_the_raw_disk(raw, tmp_path):
    repository = create_repository(str(tmp_path / "repo"))
    root = import_images(repository, [raw], name="raw").images[0].root

    for subformat in SUBFORMATS:
        path = convert(raw, tmp_path / f"{subformat}.vmdk", subformat)
        assert import_images(repository, [path], name=subformat).images[0].root == root


def test_an_archive_has_the_map_of_the_raw_disk(raw, tmp_path):
    repository = create_repository(str(tmp_path / "repo"))
    disk = convert(raw, tmp_path / "web01-disk1.vmdk", "streamOptimized")
    ova = make_ova(tmp_path / "web01.ova", {disk: raw.stat().st_size})
    disk.unlink()

    point = import_images(repository, [ova], name="ova")

    assert point.images[0].root == import_images(repository, [raw], name="raw").images[0].root


def test_an_archive_whose_disk_names_a_file_beside_it_is_refused(raw, tmp_path):
    disk = convert(raw, tmp_path / "web01-disk1.vmdk", "monolithicFlat")
    ova = make_ova(tmp_path / "web01.ova", {disk: raw.stat().st_size})

    with pytest.raises(UsageError, match="only describes a disk"):
        import_images(create_repository(str(tmp_path / "repo")), [ova], name="ova")
