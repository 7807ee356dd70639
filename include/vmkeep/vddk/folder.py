"""Finding the shared library in a VDDK distribution folder, without loading it.

The parent process calls this too, to refuse a wrong folder before anything is started.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError

MAJORS: Final = (9, 8, 7, 6)
_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
"""ELF's ``e_machine``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFile:
    """The file to load, and what its name tells."""

    folder: Path
    """The distribution: holds ``lib64/``, and is what InitEx wants."""
    path: Path
    major: int
    version: str
    """As complete as the name of the real file, e.g. ``8.0.3``."""

    @property
    def library_path(self) -> str:
        """What LD_LIBRARY_PATH has to begin with before the process starts."""
        return str(self.folder / "lib64")


def find_library(folder: str | Path) -> LibraryFile:
    """Return the newest library in a distribution folder; :class:`UsageError` says what is wrong with the folder."""
    root = Path(folder).expanduser().resolve()
    if not root.exists():
        raise UsageError(f"no VDDK at {root}: there is no such folder; unpack VMware's VDDK and name its folder")
    if not root.is_dir():
        raise UsageError(f"no VDDK at {root}: not a folder; name the folder that holds lib64/")
    for major in MAJORS:
        path = root / "lib64" / f"libvixDiskLib.so.{major}"
        if path.exists():
            _check_machine(path)
            return LibraryFile(folder=root, path=path, major=major, version=_version(path, major))
    if any(root.glob("libvixDiskLib.so*")):
        raise UsageError(f"no VDDK at {root}: this is its lib64 folder; name the folder above, {root.parent}")
    raise UsageError(
        f"no VDDK at {root}: it holds no lib64/libvixDiskLib.so.{{{MAJORS[0]}…{MAJORS[-1]}}}; "
        "name the vmware-vix-disklib-distrib folder"
    )


def _version(path: Path, major: int) -> str:
    match = re.search(r"\.so\.(\d+(?:\.\d+)*)$", path.resolve().name)
    return match.group(1) if match else str(major)


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
