"""Lay out a VDDK folder as VMware's archive has it, with the stand-in library inside."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from vmlab.native import VDDK, build

VERSION = "8.0.3"
_REAL = f"libvixDiskLib.so.{VERSION}"


def install_vddk(target_dir: Path, nfc_port: int) -> Path:
    """Make ``target_dir`` a VDDK distribution that finds the lab's NFC service at ``nfc_port``.

    May be repeated, also while programs use the library. Returns ``target_dir``.
    """
    lib64 = target_dir / "lib64"
    lib64.mkdir(parents=True, exist_ok=True)
    _replace(lib64 / _REAL, lambda beside: shutil.copyfile(build(VDDK), beside))
    for link in ("libvixDiskLib.so.8", "libvixDiskLib.so"):
        _replace(lib64 / link, lambda beside: beside.symlink_to(_REAL))
    _replace(target_dir / "lab.conf", lambda beside: beside.write_text(f"nfc_port={nfc_port}\n"))
    return target_dir


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    make(beside)
    beside.replace(path)
