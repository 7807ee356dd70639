"""Finds the shared library in a VDDK folder, without loading it.

VMware's distribution has it in ``lib64/``, as ``libvixDiskLib.so.8`` and the like. A package may install a replacement
in the folder itself, with only a complete version in its name (OpenVDDK's ``libvixDiskLib.so.8.0.3``). All these names
are accepted.

The parent process calls this module too, to refuse a wrong folder before a child is started.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass

LIBRARY_LOG: Final = "vmkeep.vddk.library"
"""Name of the logger that gets the library's lines, at their own levels."""
_OLDEST: Final = 6
_NAME: Final = re.compile(r"libvixDiskLib\.so(?:\.(\d+(?:\.\d+)*))?")
_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
"""Values of ELF's ``e_machine`` field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFile:
    """The library's file, with the version that its name tells."""

    folder: Path
    """The folder to pass to InitEx. It holds ``lib64/``, or the library itself."""
    path: Path
    major: int
    version: str
    """Version in the name of the real file, e.g. ``8.0.3``."""

    @property
    def library_path(self) -> str:
        """Folder that has to come first in LD_LIBRARY_PATH when the process starts."""
        return str(self.path.parent)


def require_folder(folder: str | None) -> str:
    """Return the VDDK folder of a site.

    :raises UsageError: the site names none.
    """
    if not folder:
        raise UsageError("no VDDK folder is given: set VMKEEP_VDDK to the folder that holds lib64/")
    return folder


def find_library(folder: str | Path) -> LibraryFile:
    """Return the newest library in a folder or in its ``lib64``.

    :raises UsageError: there is no usable library; the message tells the reason and the remedy.
    """
    root = Path(folder).expanduser().resolve()
    if not root.exists():
        raise UsageError(f"no VDDK at {root}: there is no such folder; unpack VMware's VDDK and name its folder")
    if not root.is_dir():
        raise UsageError(f"no VDDK at {root}: not a folder; name the folder that holds lib64/")
    for place in (root / "lib64", root):
        if (path := max(_libraries(place), key=_rank, default=None)) is not None:
            _check_machine(path)
            distribution = root.parent if place == root and root.name == "lib64" else root
            complete = _version(path.resolve()) or _version(path)
            text = ".".join(map(str, complete)) or "unknown"
            return LibraryFile(folder=distribution, path=path, major=_major(path), version=text)
    raise UsageError(
        f"no VDDK at {root}: it holds no lib64/libvixDiskLib.so of version {_OLDEST} or newer, and none beside lib64; "
        "name the folder vmware-vix-disklib-distrib that VMware's archive unpacks to"
    )


def _libraries(place: Path) -> Iterator[Path]:
    return (path for path in place.glob("libvixDiskLib.so*") if _NAME.fullmatch(path.name) and _major(path) >= _OLDEST)


def _rank(path: Path) -> tuple[int, bool, tuple[int, ...]]:
    """Rank a file: the newest major version first, and in it the name that the linker asks for.

    That name is a link to the release that counts.
    """
    version = _version(path)
    return _major(path), len(version) == 1, version


def _major(path: Path) -> int:
    return (_version(path) or _version(path.resolve()) or (_OLDEST,))[0]


def _version(path: Path) -> tuple[int, ...]:
    match = _NAME.fullmatch(path.name)
    return tuple(map(int, match[1].split("."))) if match and match[1] else ()


def _check_machine(path: Path) -> None:
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if header[:4] != b"\x7fELF":
        raise UsageError(f"{path} is not a shared library; unpack VDDK again")
    machine = platform.machine()
    if header[4] != 2 or int.from_bytes(header[18:20], "little") != _MACHINES.get(machine):
        raise UsageError(f"{path} is built for another processor than this machine's ({machine}); VDDK needs x86-64")
