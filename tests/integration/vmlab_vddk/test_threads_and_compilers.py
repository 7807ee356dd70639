"""The stand-in under thread and address sanitizers, and built by the compiler that comes as a Python package."""

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.patience import HANG
from vmlab.disks import DiskStore
from vmlab.native import compiling

MIB = 1 << 20


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_handles_and_their_threads_share_nothing_unguarded(tmp_path: Path, sanitizer: str) -> None:
    store = DiskStore(tmp_path / "datastores")
    disks = [f"[ds] vm/b{number}.vmdk" for number in range(3)]
    for number, child in enumerate(disks):
        base = f"[ds] vm/a{number}.vmdk"
        store.create(base, MIB)
        store.enable_tracking(base)
        store.create_child(base, child)
    sources = (*compiling.VDDK.sources, str(Path(__file__).with_name("stress.c")))
    product = replace(compiling.VDDK, file_name="stress", sources=sources, flags=(f"-I{compiling.SOURCES}",))
    compiling.compile_to(product, tmp_path / "stress", extra=(*compiling.STRICT, f"-fsanitize={sanitizer}", "-O1"))
    arguments = [str(tmp_path / "stress"), *(str(store.path(disk)) for disk in disks)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[:4000]
    assert "WARNING" not in done.stderr


@pytest.mark.slow
def test_the_library_of_clients_builds_where_only_the_packaged_compiler_is(tmp_path: Path) -> None:
    """That of the disks is built by it in `test_machines_without_a_compiler.py`."""
    made = tmp_path / compiling.VDDK.file_name
    compiling.compile_to(compiling.VDDK, made, command=[sys.executable, "-m", "ziglang", "cc"])
    assert hasattr(ctypes.CDLL(str(made)), "VixDiskLib_Open")


def test_any_number_of_processes_may_build_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        places = set(pool.map(compiling.build, [compiling.DISK_CORE] * 3))
    assert [path.parent for path in tmp_path.glob("vmlab/*/libvmlabdisk.so")] == [place.parent for place in places]
    assert not list(tmp_path.glob("vmlab/*/tmp*"))


def test_a_compiler_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(compiling.BuildError, match=r"libvmlabdisk\.so"):
        compiling.compile_to(compiling.DISK_CORE, tmp_path / "x.so", extra=("-include", "no-such-header.h"))


@pytest.mark.soak  # each test run compiles the same sources as strictly, for the sanitizers above
@pytest.mark.parametrize("product", [compiling.DISK_CORE, compiling.VDDK], ids=lambda product: str(product.file_name))
def test_the_compiler_has_nothing_to_warn_of(tmp_path: Path, product: compiling.Product) -> None:
    compiling.compile_to(product, tmp_path / product.file_name, extra=compiling.STRICT)


def test_a_host_with_symbols_of_the_same_names_does_not_catch_the_librarys_own_calls(tmp_path: Path) -> None:
    host = tmp_path / "host"
    source = Path(__file__).with_name("host_with_same_names.c")
    flags = ["-rdynamic", "-D_GNU_SOURCE", "-o", str(host), str(source), "-ldl"]
    subprocess.run([*compiling.compilers()[0], *flags], check=True)
    done = subprocess.run(
        [str(host), str(compiling.build(compiling.VDDK))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "well\n")
