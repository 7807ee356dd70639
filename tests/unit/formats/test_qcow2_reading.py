"""qcow2 images of QEMU read as disks: every kind of cluster, chains, and what is refused before a byte is stored."""

import random
import struct
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.formats.qemu import qemu_img, qemu_io
from tests.unit.formats.written import write_raw
from vmkeep.errors import NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.formats import open_qcow2
from vmkeep.model.extents import Extent, total

CLUSTER = 1 << 16
MIB = 1 << 20
SIZE = 6 * MIB + 512


def content(source):
    with source.open_reader([Extent(0, source.capacity)], piece_size=100 << 9, depth=2) as reader:
        disk = bytearray(source.capacity)
        while piece := reader.next_piece():
            disk[piece.start : piece.start + len(piece.data)] = piece.data
            piece.release()
    return bytes(disk)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Noise, text that can be compressed, zeros that are written, and holes."""
    noise, text = random.Random(1).randbytes(MIB + 512), b"a line of a log file\n" * 40_000
    parts = {512: noise, 3 * MIB - 512: text, 5 * MIB: bytes(CLUSTER), SIZE - 512: b"e" * 512}
    return write_raw(tmp_path_factory.mktemp("raw") / "disk.raw", SIZE, parts)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("compat=1.1", ()),
        ("compat=0.10", ()),
        ("compat=0.10", ("-c",)),
        ("cluster_size=512", ()),
        ("cluster_size=2M,compression_type=zstd", ("-c",)),
        ("compression_type=zstd", ("-c",)),
        ("extended_l2=on,cluster_size=64k", ()),
        ("extended_l2=on", ("-c",)),
    ],
)
def test_each_kind_of_image_is_read_byte_by_byte(options, flags, raw, tmp_path):
    qemu_img("convert", *flags, "-O", "qcow2", "-o", options, raw, tmp_path / "disk.qcow2")

    with open_qcow2(tmp_path / "disk.qcow2") as source:
        assert source.capacity == SIZE
        assert content(source) == raw.read_bytes()
        stored = source.allocated()
        assert total(stored) < 5 * MIB
        assert all(extent.start % 512 == 0 and extent.stop % 512 == 0 for extent in stored)
        disk = raw.read_bytes()
        for extent in stored:
            disk = disk[: extent.start] + bytes(extent.length) + disk[extent.stop :]
        assert not any(disk)


def test_an_overlay_reads_its_backing_files_where_it_has_nothing_of_its_own(raw, tmp_path):
    """Zeros that hide data below, a base that is shorter, and a raw base under two overlays."""
    qemu_img("convert", "-f", "raw", "-O", "raw", raw, tmp_path / "base.raw")
    qemu_img("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", tmp_path / "mid.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", tmp_path / "top.qcow2", "8M")
    qemu_io(tmp_path / "top.qcow2", f"write -P 7 {MIB} 64k", f"write -z {3 * MIB} 1M", f"write -P 9 {7 * MIB} 512")
    qemu_img("convert", "-O", "raw", tmp_path / "top.qcow2", tmp_path / "flat.raw")

    with open_qcow2(tmp_path / "top.qcow2") as source:
        assert content(source) == (tmp_path / "flat.raw").read_bytes()
        assert total(source.allocated()) < 5 * MIB


def test_internal_snapshots_are_left_out_with_a_note(raw, tmp_path):
    image = tmp_path / "disk.qcow2"
    qemu_img("convert", "-O", "qcow2", raw, image)
    qemu_img("snapshot", "-c", "before", image)
    qemu_io(image, "write -P 5 0 64k")

    with open_qcow2(image) as source:
        assert content(source)[:CLUSTER] == b"\5" * CLUSTER
        assert source.notes == (f"{image}: the disk as it is now is read, without 1 internal snapshot",)


def patched(image, at, form, *values):
    with image.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(form, *values))


@pytest.fixture
def small(tmp_path):
    raw = write_raw(tmp_path / "small.raw", MIB, {0: b"x" * 512})
    qemu_img("convert", "-O", "qcow2", raw, tmp_path / "small.qcow2")
    return tmp_path / "small.qcow2"


@pytest.mark.parametrize(
    ("at", "form", "value", "error", "words"),
    [
        (0, ">4s", b"KDMV", UsageError, "is no qcow2 image"),
        (4, ">I", 4, UnsupportedError, "has version 4 of qcow2"),
        (20, ">I", 30, UsageError, r"byte 20 tells clusters of 2\^30 bytes"),
        (24, ">Q", MIB + 1, UsageError, f"qemu-img resize .*small.qcow2 {MIB + 512}"),
        (24, ">Q", 1 << 60, UsageError, "L1 table of 1 entries is too small"),
        (32, ">I", 1, UnsupportedError, r"is encrypted \(AES\)"),
        (32, ">I", 2, UnsupportedError, r"is encrypted \(LUKS\)"),
        (36, ">I", 1 << 31, UsageError, "an L1 table of 2147483648 entries"),
        (40, ">Q", 1 << 40, UsageError, "would end beyond the file"),
        (40, ">Q", 77, UsageError, "the L1 table lies at byte 77"),
        (72, ">Q", 1, UsageError, "was not closed by its last writer.*qemu-img check -r all"),
        (72, ">Q", 2, UsageError, "marked it as corrupt.*qemu-img check -r all"),
        (72, ">Q", 4, UnsupportedError, "keeps its data in another file"),
        (72, ">Q", 32, UnsupportedError, "features of qcow2 that are not known"),
        (100, ">I", 1 << 30, UsageError, "a header of 1073741824 bytes"),
    ],
)
def test_an_image_that_cannot_be_read_is_refused_by_the_reason(at, form, value, error, words, small):
    patched(small, at, form, value)

    with pytest.raises(error, match=words):
        open_qcow2(small)


def test_a_cluster_beyond_the_end_of_a_file_that_was_cut_off_is_named(small):
    size = small.stat().st_size
    with small.open("r+b") as file:
        file.truncate(size - CLUSTER)

    with (
        open_qcow2(small) as source,
        pytest.raises(UsageError, match=f"byte 0 of the disk would lie at byte {size - CLUSTER}"),
    ):
        content(source)


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "link.raw"])
def test_a_backing_file_outside_of_the_folder_is_not_read(name, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_raw(tmp_path / "secret.raw", MIB, {0: b"secret"})
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    qemu_img("create", "-u", "-f", "qcow2", "-b", name, "-F", "raw", folder / "a.qcow2", "1M")

    with pytest.raises(UsageError, match="lies in another folder"):
        open_qcow2(folder / "a.qcow2")


def test_chains_that_cannot_be_followed_are_refused(tmp_path):
    def overlay(name, below, *form):
        qemu_img("create", "-u", "-f", "qcow2", "-b", below, *form, tmp_path / name, "1M")

    overlay("a.qcow2", "b.qcow2", "-F", "qcow2")
    overlay("b.qcow2", "a.qcow2", "-F", "qcow2")
    overlay("alone.qcow2", "gone.qcow2", "-F", "qcow2")
    overlay("vpc.qcow2", "a.qcow2", "-F", "vpc")
    overlay("nbd.qcow2", "nbd://10.0.0.1/disk", "-F", "raw")

    for name, error, words in [
        ("a.qcow2", UsageError, "lead back to itself"),
        ("alone.qcow2", NotFoundError, "'gone.qcow2' cannot be found"),
        ("vpc.qcow2", UnsupportedError, "has the format vpc"),
        ("nbd.qcow2", NotFoundError, "cannot be found"),
    ]:
        with pytest.raises(error, match=words):
            open_qcow2(tmp_path / name)


def test_a_backing_file_without_a_format_is_never_guessed(tmp_path):
    write_raw(tmp_path / "base.raw", MIB, {})
    qemu_img("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", tmp_path / "a.qcow2")
    data = (tmp_path / "a.qcow2").read_bytes()
    (tmp_path / "a.qcow2").write_bytes(data.replace(struct.pack(">I", 0xE2792ACA), struct.pack(">I", 0x11111111)))

    with pytest.raises(UsageError, match=r"does not tell the format of its backing file base.raw.*rebase -u"):
        open_qcow2(tmp_path / "a.qcow2")


@pytest.fixture(scope="module")
def victims(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("victims")
    made = []
    for number, (flags, options) in enumerate(
        [
            ((), "cluster_size=4k"),
            (("-c",), "cluster_size=4k"),
            (("-c",), "compression_type=zstd"),
            ((), "extended_l2=on"),
        ]
    ):
        qemu_img("convert", *flags, "-O", "qcow2", "-o", options, raw, folder / f"{number}.qcow2")
        made.append((folder / f"{number}.qcow2").read_bytes())
    return folder / "mutated.qcow2", made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 3),
    changes=st.lists(
        st.tuples(st.one_of(st.integers(0, 112), st.integers(0, 1 << 19)), st.binary(min_size=1, max_size=8)),
        max_size=4,
    ),
    cut=st.one_of(st.just(0), st.integers(0, 1 << 19)),
)
def test_a_mutated_image_is_read_or_refused_by_an_error_of_ours(number, changes, cut, victims):
    path, made = victims
    data = bytearray(made[number])
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new
    path.write_bytes(data[: len(data) - cut % len(data)])

    with suppress(VmKeepError), open_qcow2(path) as source:
        for extent in (source.allocated() or ())[:20]:
            length = min(extent.length, MIB)
            source.read_into(extent.start, memoryview(bytearray(length)))


def test_a_table_that_stands_for_two_parts_of_the_disk_is_refused(tmp_path):
    path = tmp_path / "a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "1M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 512", path], check=True, capture_output=True)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[40:48], "big")
    data[first + 8 : first + 16] = data[first : first + 8]
    path.write_bytes(data)

    with pytest.raises(UsageError, match="stands for several parts of the disk"):
        open_qcow2(path)
