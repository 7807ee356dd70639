"""What tests of several areas share."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nineteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VDDK folder whose library has only the 19 oldest symbols and serves plain files; see native/nineteen.c."""
    root = tmp_path_factory.mktemp("vddk-19")
    (root / "lib64").mkdir()
    library = root / "lib64" / "libvixDiskLib.so.6.5.0"
    system = shutil.which("cc")
    compiler = [system] if system else [sys.executable, "-m", "ziglang", "cc"]
    flags = ["-shared", "-fPIC", "-O1", "-pthread", "-fvisibility=hidden", "-Wl,-Bsymbolic"]
    source = Path(__file__).parent / "native" / "nineteen.c"
    subprocess.run([*compiler, *flags, "-o", str(library), str(source)], check=True)
    (root / "lib64" / "libvixDiskLib.so.6").symlink_to(library.name)
    return root
