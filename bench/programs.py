"""The programs that the benchmark needs: those in C are built, the others are found, and all tell their versions."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import say

VMKEEP = str(Path(sys.executable).with_name("vmkeep"))
_HERE = Path(__file__).parent


def build_timed(folder: Path) -> Path:
    """Build the program that measures the others."""
    program = folder / "timed"
    subprocess.run(["cc", "-O2", "-o", program, _HERE / "timed.c"], check=True)
    return program


def build_limits(folder: Path) -> dict[str, Path]:
    """Build the C programs; empty, with a word on standard error, where something is missing for it."""
    llvm = next((name for n in range(22, 14, -1) if (name := _find_llvm(n))), None)
    zstd = ctypes.util.find_library("zstd")
    if llvm is None or zstd is None or not Path("/usr/include/zstd.h").exists():
        say("the limit needs libzstd and libLLVM (apt-get install libzstd-dev libllvm16); left out")
        return {}
    found = {}
    for name in ("limit", "limit_restore"):
        found[name] = folder / name
        libraries = [f"-l:{zstd}", f"-l:{llvm}", "-lpthread"]
        source = _HERE / f"{name}.c"
        subprocess.run(["cc", "-O3", "-march=native", "-o", found[name], source, *libraries], check=True)
    return found


def has(program: str) -> bool:
    """Return whether a program is there; says so where it is not."""
    if shutil.which(program):
        return True
    say(f"{program} is not installed (apt-get install restic borgbackup qemu-utils); left out")
    return False


def versions() -> dict[str, str]:
    """Return what was compared with what."""
    import blake3
    import zstandard

    found = {
        "vmkeep": _first_line([VMKEEP, "--version"]),
        "python": platform.python_version(),
        "zstd in python-zstandard": ".".join(map(str, zstandard.ZSTD_VERSION)),
        "blake3": blake3.__version__,
        "libzstd of the limit": _package("libzstd1"),
        "cc": _first_line(["cc", "--version"]),
        "restic": _first_line(["restic", "version"]),
        "borg": _first_line(["borg", "--version"]),
        "qemu-img": _first_line(["qemu-img", "--version"]),
        "cp": _first_line(["cp", "--version"]),
    }
    return {name: version for name, version in found.items() if version}


def machine() -> str:
    """Describe what everything ran on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return f"{os.cpu_count()} cores ({model}), {int(memory) >> 20} GiB, Linux {platform.release()}"


def _find_llvm(number: int) -> str | None:
    return ctypes.util.find_library(f"LLVM-{number}")


def _first_line(argv: list[str]) -> str:
    if not shutil.which(argv[0]):
        return ""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition("\n")[0]


def _package(name: str) -> str:
    if not shutil.which("dpkg-query"):
        return ""
    argv = ["dpkg-query", "-W", "-f=${Version}", name]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
