"""Compile the lab's two C libraries with a compiler of this machine, once per state of the sources.

``libvmlabdisk.so`` is the disk core for Python; ``libvixDiskLib.so.8`` is the stand-in
for VDDK's. The products live in a per-user cache under the hash of sources and flags.
Several processes may ask at once, because each compiles beside and renames into place.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
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
    "vix_state.c",
    "vix_errors.c",
    "vix_message.c",
    "vix_control.c",
    "vix_connection.c",
    "vix_disk.c",
    "vix_queue.c",
    "vix_io.c",
    "vix_transfer.c",
    "vix_blocks.c",
    "vix_metadata.c",
    "vix_local.c",
    "vix_clone.c",
    "vix_absent.c",
)
FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-pthread")
STRICT = ("-Werror",)
"""For our own tests only, because a compiler that we have not met may warn of more."""
HELP = "Install gcc with libc6-dev, or run `pip install 'vmkeep[lab]'`, which brings a compiler as the package ziglang."


class BuildError(Exception):
    """The C libraries could not be compiled. The message says why, and what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One shared library: its sources, and its own flags."""

    file_name: str
    sources: tuple[str, ...]
    flags: tuple[str, ...] = ()


DISK_CORE = Product(file_name="libvmlabdisk.so", sources=CORE, flags=("-shared",))
VDDK = Product(
    file_name="libvixDiskLib.so.8",
    sources=CORE + STAND_IN,
    # -Bsymbolic, because a program that exports the same names would otherwise catch our own calls.
    flags=("-DVL_EXPORT=", "-shared", "-Wl,-Bsymbolic", "-Wl,-soname,libvixDiskLib.so.8"),
)


def compilers() -> list[list[str]]:
    """Return the commands of all C compilers found: ``cc``, ``gcc``, ``clang``, then the one in the ziglang package.

    :raises BuildError: there is none.
    """
    commands = [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "cc"])
    if not commands:
        raise BuildError(
            "no C compiler: the lab compiles its disk library when it first starts, and found neither cc, gcc nor "
            f"clang on the PATH, nor the Python package ziglang. {HELP}"
        )
    return commands


def build(product: Product) -> Path:
    """Return the compiled library, from the cache if the sources have not changed since it was made.

    :raises BuildError: no compiler made it, or the cache cannot be written.
    """
    place = _cache_folder() / _state(product) / product.file_name
    try:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _compile_into(place, product)
    except OSError as error:
        raise BuildError(
            f"{product.file_name}: cannot be kept in {place.parent}: {error.strerror}. "
            "Set XDG_CACHE_HOME to a folder that this user may write."
        ) from error
    return place


def _compile_into(place: Path, product: Product) -> None:
    """Try one compiler after the other, because one without headers is worse than none."""
    refusals = []
    for command in compilers():
        with tempfile.TemporaryDirectory(dir=place.parent) as beside:
            made = Path(beside) / product.file_name
            try:
                compile_to(product, made, command=command)
            except BuildError as error:
                refusals.append(str(error))
                continue
            made.replace(place)
            return
    raise BuildError("\n".join([*refusals, HELP]))


def compile_to(product: Product, out: Path, *, command: list[str] | None = None, extra: tuple[str, ...] = ()) -> None:
    """Compile ``product`` into the file ``out``; ``extra`` flags come last (sanitizers in tests).

    :raises BuildError: the compiler refused.
    """
    sources = [str(SOURCES / name) for name in product.sources]
    arguments = [*(command or compilers()[0]), *FLAGS, *product.flags, *extra, "-o", str(out), *sources]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{product.file_name}: {' '.join(arguments[:3])} failed:\n{done.stderr[:2000]}")


def _state(product: Product) -> str:
    digest = hashlib.sha256("\0".join([*FLAGS, *product.flags]).encode())
    for path in sorted([*SOURCES.glob("*.h"), *(SOURCES / name for name in product.sources)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def _cache_folder() -> Path:
    """Return the folder of what was compiled.

    :raises BuildError: there is neither a folder for caches nor a home.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if root.is_absolute():  # the XDG rules say to ignore a relative one
        return root / "vmlab"
    with suppress(RuntimeError):
        if (home := Path.home()).is_absolute():
            return home / ".cache" / "vmlab"
    raise BuildError("there is no home folder to keep the compiled files in: set XDG_CACHE_HOME to an absolute path")
