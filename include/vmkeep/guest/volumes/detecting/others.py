"""Things that are known by a signature only, so that a person reads their name and not *unknown*."""

from __future__ import annotations

from typing import Final

from vmkeep.guest.volumes.detecting.content import Content, Head, text
from vmkeep.lateclass import dataclass

_ZFS_RING: Final = 128 << 10
_ZFS_MAGIC: Final = ((0x00BAB10C).to_bytes(8, "little"), (0x00BAB10C).to_bytes(8, "big"))


@dataclass(frozen=True, slots=True)
class _Signature:
    """Bytes at a place."""

    kind: str
    name: str
    offset: int
    magic: bytes


_SIGNATURES: Final = (
    _Signature("refs", "ReFS", 3, b"ReFS\0\0\0\0"),
    _Signature("apfs", "APFS", 32, b"NXSB"),
    _Signature("hfs+", "HFS+", 1024, b"H+\0"),
    _Signature("hfs+", "HFS+", 1024, b"HX\0"),
    _Signature("f2fs", "F2FS", 1024, b"\x10\x20\xf5\xf2"),
    _Signature("nilfs2", "NILFS2", 1024 + 6, b"\x34\x34"),
    _Signature("reiserfs", "ReiserFS", 65536 + 52, b"ReIsEr"),
    _Signature("gfs2", "GFS2", 65536, b"\x01\x16\x19\x70"),
    _Signature("ocfs2", "OCFS2", 8192, b"OCFSV2"),
    _Signature("jfs", "JFS", 32768, b"JFS1"),
    _Signature("ufs2", "UFS2", 65536 + 0x55C, b"\x19\x01\x54\x19"),
    _Signature("ufs2", "UFS2", 65536 + 0x55C, b"\x19\x54\x01\x19"),
    _Signature("bcachefs", "bcachefs", 4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    _Signature("bcache", "bcache", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    _Signature("squashfs", "SquashFS", 0, b"hsqs"),
    _Signature("vdo", "VDO", 0, b"dmvdo001"),
    _Signature("dm-integrity", "dm-integrity", 0, b"integrt\0"),
    _Signature("dm-verity", "dm-verity", 0, b"verity\0\0"),
    _Signature("stratis", "Stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    _Signature("ceph", "Ceph", 0, b"bluestore block device"),
    _Signature("oracle-asm", "Oracle ASM", 32, b"ORCLDISK"),
    _Signature("storage-spaces", "Windows' Storage Spaces", 4096, b"SPACEDB "),
    _Signature("ldm", "a dynamic disk of Windows", 6 * 512, b"PRIVHEAD"),
    _Signature("vmfs", "VMFS", 1 << 20, b"\x0d\xd0\x01\xc0"),
    _Signature("udf", "UDF", 32769, b"BEA01"),
)


def unread(name: str) -> str:
    """Return why a thing of a kind that is only known by name cannot be read, and the way out."""
    return f"no reader for {name} is there; restore the VM and read it there"


def find_others(head: Head) -> Content | None:
    """Find things of which only the name is told."""
    if head.at(32769, 5) == b"CD001":
        return Content(kind="iso9660", label=text(head.at(32768 + 40, 32)), refusal=unread("ISO 9660"))
    for each in _SIGNATURES:
        if head.at(each.offset, len(each.magic)) == each.magic:
            return Content(kind=each.kind, refusal=unread(each.name))
    return None


def find_zfs(head: Head) -> Content | None:
    """Find a device of ZFS by the ring of uberblocks in its first label."""
    ring = head.at(_ZFS_RING, _ZFS_RING)
    found = sum(ring[at : at + 8] in _ZFS_MAGIC for at in range(0, len(ring) - 7, 1024))
    return Content(kind="zfs", refusal=unread("ZFS")) if found else None
