"""Damaged descriptors and deltas are errors, never a crash or an over-read: a fuzz loop under sanitizers."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmlab.disks import DiskError, DiskStore
from vmlab.native import compiling

HARNESS = Path(__file__).with_name("hostile.c")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk core and the fuzz loop as one program."""
    program = tmp_path_factory.mktemp("hostile") / "hostile"
    sources = (*compiling.CORE, str(HARNESS))
    product = replace(compiling.DISK_CORE, file_name="hostile", sources=sources, flags=(f"-I{compiling.SOURCES}",))
    compiling.compile_to(product, program, extra=(*compiling.STRICT, *SANITIZERS))
    return program


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_never_crash_the_core(harness: Path, tmp_path: Path, seed: int) -> None:
    store = DiskStore(tmp_path)
    store.create("[ds] a.vmdk", 5 << 20)
    store.create_child("[ds] a.vmdk", "[ds] b.vmdk")
    with store.open("[ds] b.vmdk", writable=True) as disk:
        disk.write(0, b"x" * 5000)
        disk.write(3 << 20, b"y" * 70_000)
    done = subprocess.run(
        [str(harness), str(tmp_path / "ds"), "150", str(seed + 1)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"},
    )
    assert done.returncode == 0, done.stderr[:4000]


DESCRIPTOR = """# Disk DescriptorFile
version=1
CID={cid}
parentCID={parent}
createType="{kind}"
RW {sectors} {extent} "{file}" {offset}
ddb.uuid = "x"
"""


@settings(max_examples=150, deadline=None)
@given(
    cid=st.sampled_from(["1", "ffffffff", "123456789", "xyz", ""]),
    parent=st.sampled_from(["ffffffff", "00000001", "0", "-1"]),
    kind=st.sampled_from(["vmfs", "vmfsSparse", "", "x" * 300]),
    sectors=st.sampled_from(["8", "0", "9", "-8", "99999999999999999999999", "18446744073709551615", "70368744177664"]),
    extent=st.sampled_from(["VMFS", "FLAT", "VMFSSPARSE", "SPARSE", "SESPARSE", "ZERO", "?"]),
    file=st.sampled_from(["a.bin", "", "none.bin", ".", "/", "/dev/null", "a.bin\0b"]),
    offset=st.sampled_from(["", "0", "1", "-1", "18446744073709551608", "x"]),
)
def test_a_descriptor_opens_as_it_says_or_is_an_error(tmp_path_factory: pytest.TempPathFactory, **fields: str) -> None:
    store = DiskStore(tmp_path_factory.getbasetemp() / "descriptors")
    folder = store.root / "ds"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_bytes(bytes(8 * 512))
    (folder / "d.vmdk").write_text(DESCRIPTOR.format(**fields))
    assert outcome(store) in {0, 4, 6, 7, 9, 13, 16000, 16003}


def outcome(store: DiskStore) -> int:
    """Open and read the disk; the error's code, 0 for none."""
    try:
        disk = store.open("[ds] d.vmdk")
    except DiskError as error:
        return error.code
    with disk:
        assert disk.capacity in {8 * 512, 9 * 512, 70368744177664 * 512}
        assert disk.read(0, 4096) == bytes(4096)
    return 0
