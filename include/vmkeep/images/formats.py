"""Distinguishes a raw disk image from a file that holds a disk in some other form.

A disk begins with code, a partition table, a file system, or zeros. Every other form begins or ends with its own
signature. Taken for raw, such a file would be stored as if it were the disk, and no restore of it would ever boot.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmkeep.errors import UsageError

_HEAD = 1024
_TAIL = 512
_CONVERT = "convert it first, e.g. 'qemu-img convert -O raw {path} disk.raw'"
_UNPACK = "unpack it first"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """A format that is not raw."""

    name: str
    remedy: str
    fits: Callable[[bytes, bytes], bool]
    """Takes the file's first and last bytes."""


def _at(offset: int, signature: bytes) -> Callable[[bytes, bytes], bool]:
    return lambda head, _tail: head[offset : offset + len(signature)] == signature


def _ends(signature: bytes) -> Callable[[bytes, bytes], bool]:
    return lambda _head, tail: tail.startswith(signature)


def _is_descriptor(head: bytes, _tail: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"# disk descriptorfile")


_FORMATS = (
    _Format(name="a VMDK", remedy=_CONVERT, fits=_at(0, b"KDMV")),
    _Format(name="a VMDK of an ESXi snapshot", remedy=_CONVERT, fits=_at(0, b"COWD")),
    _Format(name="a VMDK of an ESXi snapshot (seSparse)", remedy=_CONVERT, fits=_at(0, b"\xbe\xba\xfe\xca\0\0\0\0")),
    _Format(
        name="the descriptor of a VMDK",
        remedy="the disk is in the file that it names, which may be raw: import that one (…-flat.vmdk)",
        fits=_is_descriptor,
    ),
    _Format(name="a qcow2 image", remedy=_CONVERT, fits=_at(0, b"QFI\xfb")),
    _Format(name="a QED image", remedy=_CONVERT, fits=_at(0, b"QED\0")),
    _Format(
        name="a tar archive, maybe an OVA",
        remedy="unpack it with tar, then convert the disks in it to raw",
        fits=_at(257, b"ustar"),
    ),
    _Format(name="an XML file, maybe an OVF", remedy="import the disks that it describes", fits=_at(0, b"<?xml")),
    _Format(name="a VHDX", remedy=_CONVERT, fits=_at(0, b"vhdxfile")),
    _Format(name="a VHD", remedy=_CONVERT, fits=_at(0, b"conectix")),
    _Format(name="a VHD of fixed size", remedy=_CONVERT, fits=_ends(b"conectix")),
    _Format(name="a VDI", remedy=_CONVERT, fits=_at(64, b"\x7f\x10\xda\xbe")),
    _Format(name="a Parallels image", remedy=_CONVERT, fits=_at(0, b"WithoutFreeSpace")),
    _Format(name="a Parallels image", remedy=_CONVERT, fits=_at(0, b"WithouFreSpacExt")),
    _Format(name="an EWF (E01) image", remedy=_UNPACK, fits=_at(0, b"EVF\x09\x0d\x0a\xff\0")),
    _Format(name="compressed by gzip", remedy=_UNPACK, fits=_at(0, b"\x1f\x8b\x08")),
    _Format(name="compressed by zstd", remedy=_UNPACK, fits=_at(0, b"\x28\xb5\x2f\xfd")),
    _Format(name="compressed by xz", remedy=_UNPACK, fits=_at(0, b"\xfd7zXZ\0")),
    _Format(name="compressed by bzip2", remedy=_UNPACK, fits=_at(0, b"BZh")),
    _Format(name="compressed by lz4", remedy=_UNPACK, fits=_at(0, b"\x04\x22\x4d\x18")),
    _Format(name="a 7z archive", remedy=_UNPACK, fits=_at(0, b"7z\xbc\xaf\x27\x1c")),
    _Format(name="a ZIP archive", remedy=_UNPACK, fits=_at(0, b"PK\x03\x04")),
)


def _open_now(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def require_raw(path: Path) -> None:
    """Return if a file holds a disk in raw form.

    :raises UsageError: the file has another form. The message names the form and the remedy.
    """
    try:
        with open(path, "rb", opener=_open_now) as file:
            head = file.read(_HEAD)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read(_TAIL)
    except OSError:
        return  # because opening it as a disk will tell the reason
    found = next((form for form in _FORMATS if form.fits(head, tail)), None)
    if found is not None:
        remedy = found.remedy.format(path=path)
        raise UsageError(f"{path}: is {found.name}, and no raw image: {remedy}; --raw takes it as it is, byte by byte")
