"""Layers below file systems: LVM, LUKS, BitLocker, members of arrays. A file system is in them, not on them.

Layouts: LVM's label, cryptsetup's LUKS1 and LUKS2, ``include/uapi/linux/raid/md_p.h``.
"""

from __future__ import annotations

from typing import Final

from vmkeep.guest.volumes.detecting.arrays import find_member
from vmkeep.guest.volumes.detecting.content import Content, Head, text

_SECTOR: Final = 512
_FVE: Final = b"-FVE-FS-"
_TO_GO: Final = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_THERE: Final = "restore the VM and read it there"


def find_lvm(head: Head) -> Content | None:
    """Find a physical volume of LVM: its label is in one of the first four sectors."""
    for sector in range(4):
        label = head.at(sector * _SECTOR, _SECTOR)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            at = int.from_bytes(label[20:24], "little")
            raw = label[at : at + 32].decode("ascii", "replace") if at >= 32 else ""
            parts = (
                raw[start:stop] for start, stop in ((0, 6), (6, 10), (10, 14), (14, 18), (18, 22), (22, 26), (26, 32))
            )
            return Content(
                kind="lvm-pv", uuid="-".join(parts), refusal="it is a part of LVM; its logical volumes have the files"
            )
    return None


def find_luks(head: Head) -> Content | None:
    """Find LUKS1 and LUKS2, by the second head of a LUKS2 too, because the first may be damaged."""
    version = head.number(">H", 6)
    if head.at(0, 6) == b"LUKS\xba\xbe" and version in (1, 2):
        start = 0
    else:
        found = (offset for offset in (1 << power for power in range(14, 23)) if head.at(offset, 6) == b"SKUL\xba\xbe")
        start, version = next(found, -1), 2
    if start < 0:
        return None
    return Content(
        kind=f"luks{version}",
        label=text(head.at(start + 24, 48)) if version == 2 else "",
        uuid=text(head.at(start + 168, 40)),
        state=f"encrypted (LUKS{version})",
        refusal=f"it is encrypted by LUKS{version}, and only the guest has its key; {_THERE}",
    )


def find_bitlocker(head: Head) -> Content | None:
    """Find a volume that BitLocker encrypts."""
    if head.at(3, 8) != _FVE and head.at(424, 16) != _TO_GO:
        return None
    refusal = f"it is encrypted by BitLocker, and only the guest has its key; {_THERE}"
    return Content(kind="bitlocker", state="encrypted (BitLocker)", refusal=refusal)


def find_raid(head: Head) -> Content | None:
    """Find a member of an array of Linux's software RAID."""
    member = find_member(head)
    if member is None:
        return None
    return Content(
        kind="raid-member",
        label=member.name,
        uuid=member.array,
        refusal=f"it is a member of a software array of level {member.level}; the array has the files",
    )
