"""A VMDK from a stranger may be damaged in any way: reading it ends soon, in little memory, with an error of ours."""

import random
import shutil
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.formats.foreignvmdks import SE_GRAIN, SECTOR, describe, write_cowd, write_sesparse
from tests.unit.formats.qemu import qemu_img
from tests.unit.formats.written import write_layout, write_raw
from vmkeep.errors import VmKeepError
from vmkeep.formats import VmdkFacts, VmdkKind, open_vmdk, plan_vmdk
from vmkeep.model.extents import Extent, split

MIB = 1 << 20
KINDS = ("monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized", "vmfsSparse", "seSparse")
VALUES = st.one_of(
    st.binary(min_size=1, max_size=9),
    st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\1\0\0\0", (1 << 31).to_bytes(8, "little")]),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The folder of each kind, with the image ``d.vmdk`` and the file whose bytes are changed."""
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        damaged = folder / "d.vmdk"
        if kind == "vmfsSparse":
            damaged = write_cowd(folder / "e", 2048, dict.fromkeys((0, 5, 6, 7, 2047), b"x" * SECTOR))
            describe(folder / "d.vmdk", kind, ['RW 2048 VMFSSPARSE "e"'])
        elif kind == "seSparse":
            damaged = write_sesparse(folder / "e", 2048, dict.fromkeys((0, 5, 6, 7, 255), b"x" * SE_GRAIN))
            describe(folder / "d.vmdk", kind, ['RW 2048 SESPARSE "e"'])
        else:
            raw = write_raw(folder / "raw", MIB, {0: b"text" * 40_000, 900_000: random.Random(1).randbytes(100_000)})
            qemu_img("convert", "-O", "vmdk", "-o", f"subformat={kind}", raw, folder / "d.vmdk")
            damaged = folder / "d-s001.vmdk" if kind == "twoGbMaxExtentSparse" else damaged
        made[kind] = (folder, damaged.name, damaged.read_bytes())
    return made


def read_some(path):
    """Read an image as an import does, but no more than its first 8 MiB, because a disk may be large for good."""
    with open_vmdk(path) as source:
        left = 8 * MIB
        buffer = memoryview(bytearray(MIB))
        for extent in split(source.allocated(), MIB):
            source.read_into(extent.start, buffer[: extent.length])
            left -= extent.length
            if left < 0:
                break
        source.read_into(source.capacity - SECTOR, buffer[:SECTOR])


def refusal(path):
    """Return why an image is refused; ``None``: it is read."""
    try:
        read_some(path)
    except VmKeepError as error:
        return str(error)
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), changes=st.lists(st.tuples(st.floats(0, 1), VALUES), min_size=1, max_size=4))
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_with_wrong_bytes_is_read_or_refused(kind, images, data, changes, tmp_path):
    folder, name, good = images[kind]
    bad = bytearray(good)
    metadata = min(len(good), 8192 if kind != "streamOptimized" else len(good))
    for place, value in changes:
        where = data.draw(st.sampled_from([512, metadata, len(good)]))
        at = int(place * (where - len(value)))
        bad[at : at + len(value)] = value
    bad = bad[: data.draw(st.sampled_from([len(bad)] * 6 + [len(bad) // 2, 700]))]
    target = tmp_path / "in"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("raw"))
    (target / name).write_bytes(bad)

    tracemalloc.start()
    began = time.process_time()
    try:
        why = refusal(target / "d.vmdk")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert why is None or name in why or "d.vmdk" in why
    assert peak < 64 * MIB
    assert time.process_time() - began < 20


NAMES = st.text(max_size=9)
LINES = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(['RW 1 FLAT "f" 0', "createType=vmfs", "CID=1", "parentCID=1", 'parentFileNameHint="d.vmdk"']),
        st.builds('RW {} {} "{}" {}'.format, st.integers(0, 1 << 64), NAMES, NAMES, NAMES),
    ),
    max_size=6,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), encoding=st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_any_text_is_a_descriptor_or_refused(lines, end, encoding, tmp_path):
    (tmp_path / "f").write_bytes(bytes(SECTOR))
    path = tmp_path / "d.vmdk"
    path.write_bytes(end.join(["# Disk DescriptorFile", *lines]).encode(encoding, errors="replace"))

    why = refusal(path)

    assert why is None or str(tmp_path) in why


@pytest.mark.parametrize("text", ["\n" * (2 << 20), "a=" + " " * (2 << 20), "rw 1 x" + " " * (2 << 20)], ids=range(3))
def test_a_long_descriptor_takes_no_long_time(text, tmp_path):
    path = tmp_path / "d.vmdk"
    path.write_text(f"# Disk DescriptorFile\n{text}"[: 2 << 20])
    began = time.process_time()

    with pytest.raises(VmKeepError):
        read_some(path)

    assert time.process_time() - began < 10


def test_a_disk_of_2_tib_that_names_one_table_for_all_of_itself_is_refused_soon(tmp_path):

    raw = write_raw(tmp_path / "raw", 1 << 41, {0: b"x" * 4096})
    plan = plan_vmdk(VmdkKind.THIN, VmdkFacts(name="d"), capacity=1 << 41, stored=[Extent(0, 4096)])
    path = write_layout(plan, tmp_path, raw)
    with path.open("r+b") as file:
        file.seek(56)
        directory = int.from_bytes(file.read(8), "little") * SECTOR
        file.seek(directory)
        first = file.read(4)
        file.seek(directory)
        file.write(first * 65536)

    with open_vmdk(path) as source, pytest.raises(VmKeepError, match="another part"):
        source.allocated()
