"""Tells by its signature in which format a file holds a disk or a machine.

A raw disk begins with code, a partition table, a file system, or zeros. Every other format begins or ends with its own
signature. Taken for raw, such a file would be stored as if it were the disk, and no restore of it would ever boot.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.lateclass import dataclass


class ImportFormat(StrEnum):
    """A format that can be imported."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    OVF = "ovf"
    """A machine, with its disks in files beside it."""
    OVA = "ova"
    """An archive of an OVF file and its disks."""
    VMX = "vmx"
    """A machine of VMware Workstation, Player, Fusion or GSX Server, with its disks in files beside it."""

    @property
    def machine(self) -> bool:
        """Whether the file describes a machine with its disks, and is no disk itself."""
        return self in (ImportFormat.OVF, ImportFormat.OVA, ImportFormat.VMX)


_HEAD = 4096
_TAIL = 512
_CONVERT = "convert it first, e.g. 'qemu-img convert -O raw {path} disk.raw'"
_UNPACK = "unpack it first"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """A format that is not raw."""

    name: str
    fits: Callable[[bytes, bytes], bool]
    """Takes the file's first and last bytes."""
    format: ImportFormat | None = None
    """``None``: it cannot be imported as it is."""
    remedy: str = ""


def _at(offset: int, signature: bytes) -> Callable[[bytes, bytes], bool]:
    return lambda head, _tail: head[offset : offset + len(signature)] == signature


def _ends(signature: bytes) -> Callable[[bytes, bytes], bool]:
    return lambda _head, tail: tail.startswith(signature)


def _is_descriptor(head: bytes, _tail: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"# disk descriptorfile")


def _is_ovf(head: bytes, _tail: bytes) -> bool:
    text = _decoded(head).lstrip()
    return text.startswith(("<?xml", "<Envelope", "<ovf:Envelope")) and "Envelope" in text


def _is_vmx(head: bytes, _tail: bytes) -> bool:
    text = _decoded(head).lower()
    return (
        re.search(r'^\s*(config\.version|virtualhw\.version)\s*=\s*"', text, re.MULTILINE) is not None
        and "\0" not in text
    )


def _decoded(head: bytes) -> str:
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return head.decode("utf-16" if wide else "utf-8-sig", errors="replace")


_FORMATS = (
    _Format(name="a qcow2 image", format=ImportFormat.QCOW2, fits=_at(0, b"QFI\xfb")),
    _Format(name="a VMDK", format=ImportFormat.VMDK, fits=_at(0, b"KDMV")),
    _Format(name="a VMDK of an ESXi snapshot", format=ImportFormat.VMDK, fits=_at(0, b"COWD")),
    _Format(
        name="a VMDK of an ESXi snapshot (seSparse)",
        format=ImportFormat.VMDK,
        fits=_at(0, b"\xbe\xba\xfe\xca\0\0\0\0"),
    ),
    _Format(name="the descriptor of a VMDK", format=ImportFormat.VMDK, fits=_is_descriptor),
    _Format(name="an OVF", format=ImportFormat.OVF, fits=_is_ovf),
    _Format(name="an OVA, which is a tar archive", format=ImportFormat.OVA, fits=_at(257, b"ustar")),
    _Format(name="a .vmx file", format=ImportFormat.VMX, fits=_is_vmx),
    _Format(name="a QED image", remedy=_CONVERT, fits=_at(0, b"QED\0")),
    _Format(name="an XML file", remedy="import the disks that it describes", fits=_at(0, b"<?xml")),
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


def detect(path: Path) -> ImportFormat:
    """Return the format of a file; without any signature it is raw.

    :raises UsageError: it has another format, which cannot be imported. The message names it and the remedy.
    """
    try:
        with open(path, "rb", opener=_open_now) as file:
            head = file.read(_HEAD)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read(_TAIL)
    except (OSError, ValueError):
        return ImportFormat.RAW  # because opening it as a disk will tell the reason
    return _of_bytes(str(path), head, tail)


def detect_file(file: ImageFile) -> ImportFormat:
    """Return the format of an open file, or of a member of an archive; see :func:`detect`."""
    tail = min(_TAIL, file.size)
    return _of_bytes(file.name, file.read(0, min(_HEAD, file.size)), file.read(file.size - tail, tail))


def _of_bytes(name: str, head: bytes, tail: bytes) -> ImportFormat:
    found = next((form for form in _FORMATS if form.fits(head, tail)), None)
    if found is None:
        return ImportFormat.RAW
    if found.format is None:
        remedy = found.remedy.format(path=name)
        raise UsageError(f"{name}: is {found.name}: {remedy}; --format raw takes it as it is, byte by byte")
    return found.format
