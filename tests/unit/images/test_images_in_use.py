"""An image to which a program writes is not stored as a mix of two states."""

import os
import subprocess
import time

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import TransientError
from vmkeep.formats import ImageFile
from vmkeep.images import Kept, import_images
from vmkeep.images.unused import Unused
from vmkeep.repository import create_repository

MIB = 1 << 20
A_TICK = 10_000_000
"""Nanoseconds of the longest tick of a kernel's clock."""


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


def sealed(repository):
    return [blob.key for blob in repository.blobs.list("points/")]


def refused(repository, path):
    try:
        import_images(repository, [path], name="a")
    except TransientError as error:
        return "QEMU has it open for writing" in str(error)
    return False


def test_an_image_that_qemu_may_write_to_is_refused_until_qemu_has_closed_it(repository, tmp_path):
    image = tmp_path / "a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", image], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as running:
        eventually(lambda: refused(repository, image))
        running.communicate(b"quit\n", timeout=HANG)

    import_images(repository, [image], name="a")


def test_a_machine_that_workstation_has_open_is_refused(repository, tmp_path):
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(MIB))
    (tmp_path / "a.raw.lck").mkdir()
    (tmp_path / "a.raw.lck" / "M1.lck").touch()

    with pytest.raises(TransientError, match="is in use by VMware"):
        import_images(repository, [image], name="a")


def test_a_file_that_changes_while_it_is_read_is_not_sealed(repository, tmp_path):
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(MIB))

    def change(_foreign, _disks):
        image.write_bytes(b"x" * MIB)
        return Kept()

    with pytest.raises(TransientError, match="was changed while it was read"):
        import_images(repository, [image], name="a", describe=change)
    assert sealed(repository) == []


def test_nothing_is_read_of_an_image_in_the_tick_of_the_clock_in_which_it_was_written(tmp_path):
    """Another write within that tick would leave the file with the same state."""
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(MIB))

    Unused().watch([image])

    assert time.time_ns() - image.stat().st_ctime_ns > A_TICK


def test_no_file_of_an_image_is_opened_in_the_tick_of_the_clock_in_which_it_was_written(tmp_path):
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(MIB))

    with ImageFile(image):
        assert time.time_ns() - image.stat().st_ctime_ns > A_TICK


def chained(folder, form):
    """Make an image over another one, and return both."""
    below, image = folder / f"below.{form}", folder / f"a.{form}"
    subprocess.run(["qemu-img", "create", "-q", "-f", form, below, "1M"], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", form, "-b", below.name, "-F", form, image], check=True)
    return image, below


def in_pieces(folder):
    image = folder / "a.vmdk"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", image, "1M"], check=True
    )
    return image, folder / "a-flat.vmdk"


READ_WITH = {
    "a backing file": lambda folder: chained(folder, "qcow2"),
    "a parent": lambda folder: chained(folder, "vmdk"),
    "an extent": in_pieces,
}


@pytest.mark.parametrize("make", READ_WITH.values(), ids=READ_WITH)
def test_a_change_of_any_file_that_is_read_keeps_the_point_from_being_sealed(make, repository, tmp_path):
    image, other = make(tmp_path)
    before = other.stat()

    def change(_foreign, _disks):
        other.write_bytes(other.read_bytes())
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        return Kept()

    with pytest.raises(TransientError, match=f"{other.name}: was changed while it was read"):
        import_images(repository, [image], name="a", describe=change)
    assert sealed(repository) == []


@pytest.mark.parametrize("make", READ_WITH.values(), ids=READ_WITH)
def test_an_image_is_refused_while_vmware_uses_any_of_its_files(make, repository, tmp_path):
    image, other = make(tmp_path)
    (tmp_path / f"{other.name}.lck").mkdir()
    (tmp_path / f"{other.name}.lck" / "M1.lck").touch()

    with pytest.raises(TransientError, match=f"{other.name}: is in use by VMware"):
        import_images(repository, [image], name="a")
