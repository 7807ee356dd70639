"""Compile the lab's two C libraries with what the machine has, once per state of the sources.

``libvmlabdisk.so`` is the disk core for Python; ``libvixDiskLib.so.8`` is the stand-in
for VDDK's. The products live in a per-user cache under the hash of sources and flags, so
that several processes may ask at once: each compiles beside and renames into place.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).parent
CORE = (
    "util.c",
    "lines.c",
    "descriptor.c",
    "entries.c",
    "cowd.c",
    "tracking.c",
    "chain.c",
    "transfer.c",
    "allocated.c",
    "create.c",
    "merge.c",
)
STAND_IN = (
    "vix_library.c",
    "vix_errors.c",
    "vix_message.c",
    "vix_control.c",
    "vix_connection.c",
    "vix_disk.c",
    "vix_queue.c",
    "vix_io.c",
    "vix_blocks.c",
    "vix_metadata.c",
    "vix_local.c",
    "vix_clone.c",
    "vix_absent.c",
)
FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-pthread")


class BuildError(Exception):
    """The C libraries could not be compiled; the message holds the compiler's first lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One shared library: its sources and the flags of its own."""

    file_name: str
    sources: tuple[str, ...]
    flags: tuple[str, ...] = ()


DISK_CORE = Product(file_name="libvmlabdisk.so", sources=CORE, flags=("-shared",))
VDDK = Product(
    file_name="libvixDiskLib.so.8",
    sources=CORE + STAND_IN,
    # -Bsymbolic: a host that exports functions of the same names must not catch our own calls.
    flags=("-DVL_EXPORT=", "-shared", "-Wl,-Bsymbolic", "-Wl,-soname,libvixDiskLib.so.8"),
)


def compiler() -> list[str]:
    """Return the command of a C compiler: ``cc``, ``gcc``, ``clang``, or the one in the ziglang package."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BuildError("no C compiler: install gcc, or the Python package ziglang")


def build(product: Product) -> Path:
    """Return the compiled library, from the cache where the sources have not changed since."""
    command = compiler()
    place = _cache_folder() / _state(product, command) / product.file_name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as beside:
            made = Path(beside) / product.file_name
            compile_to(product, made, command=command)
            made.replace(place)
    return place


def compile_to(product: Product, out: Path, *, command: list[str] | None = None, extra: tuple[str, ...] = ()) -> None:
    """Compile ``product`` into the file ``out``; ``extra`` flags come last (sanitizers in tests).

    :raises BuildError: the compiler refused.
    """
    sources = [str(SOURCES / name) for name in product.sources]
    arguments = [*(command or compiler()), *FLAGS, *product.flags, *extra, "-o", str(out), *sources]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{product.file_name}: {' '.join(arguments[:3])} failed:\n{done.stderr[:2000]}")


def _state(product: Product, command: list[str]) -> str:
    digest = hashlib.sha256("\0".join([*command, *FLAGS, *product.flags]).encode())
    for path in sorted([*SOURCES.glob("*.h"), *(SOURCES / name for name in product.sources)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "vmlab"
