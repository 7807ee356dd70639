"""FAT12, FAT16, FAT32 and exFAT: boot sectors, labels and dirty bits.

Layouts are Microsoft's: the FAT file system specification, and the exFAT specification.
"""

from __future__ import annotations

from typing import Final

from vmkeep.guest.volumes.detecting.content import READY, UNCLEAN, Content, Head, is_power_of_two, text

_FOLDER: Final = 64 << 10
"""Bytes of a root folder in which its label is looked for."""
_LABEL: Final = 0x08
_LONG_NAME: Final = 0x0F
_UNNAMED: Final = "NO NAME"


def find_fat(head: Head) -> Content | None:
    """Find FAT12, FAT16 and FAT32."""
    boot = head.at(0, 512)
    if len(boot) < 512 or boot[510:] != b"\x55\xaa" or boot[0] not in (0xEB, 0xE9):
        return None
    sector, per_cluster, reserved, tables, in_root, short_total = head.numbers("<HBHBHH", 11)
    media, short_table = head.numbers("<BH", 21)
    total, per_table = short_total or head.number("<I", 32), short_table or head.number("<I", 36)
    if not is_power_of_two(sector, 512, 4096) or not is_power_of_two(per_cluster, 1, 128):
        return None
    if not reserved or tables not in (1, 2) or media < 0xF0 or not per_table:
        return None
    root = reserved + tables * per_table
    data = root + -(-in_root * 32 // sector)
    clusters = (total - data) // per_cluster
    if clusters < 1:
        return None
    wide = not short_table
    boot_label, serial = (0x47, 0x43) if wide else (0x2B, 0x27)
    if wide:
        start = (data + (head.number("<I", 44) - 2) * per_cluster) * sector
        length = per_cluster * sector
    else:
        start, length = root * sector, in_root * 32
    label = _label(head, start, length) or text(head.at(boot_label, 11), "cp437")
    return Content(
        kind="vfat",
        label="" if label == _UNNAMED else label,
        uuid="{1:04X}-{0:04X}".format(*head.numbers("<HH", serial)),
        state=READY if _is_clean(head, reserved * sector, clusters, wide=wide) else UNCLEAN,
        size=total * sector,
    )


def _label(head: Head, start: int, length: int) -> str:
    """Return the label in a root folder; empty if it has none in its first bytes."""
    folder = head.at(start, min(length, _FOLDER))
    for at in range(0, len(folder) - 31, 32):
        entry = folder[at : at + 32]
        if not entry[0]:
            break
        if entry[0] != 0xE5 and entry[11] & _LONG_NAME != _LONG_NAME and entry[11] & _LABEL:
            return text(entry[:11], "cp437")
    return ""


def _is_clean(head: Head, table: int, clusters: int, *, wide: bool) -> bool:
    """Tell whether the table and the boot sector say that the file system was unmounted. FAT12 cannot say it."""
    if head.number("B", 0x41 if wide else 0x25) & 1:
        return False
    if wide:
        return bool(head.number("<I", table + 4) & 0x08000000)
    return clusters < 4085 or bool(head.number("<H", table + 2) & 0x8000)


def find_exfat(head: Head) -> Content | None:
    """Find exFAT."""
    if head.at(3, 8) != b"EXFAT   ":
        return None
    sectors, _, _, heap, _, root, low, high, _, flags, sector_bits, cluster_bits = head.numbers("<QIIIIIHHHHBB", 72)
    if not 9 <= sector_bits <= 12 or sector_bits + cluster_bits > 25:
        return None
    start = (heap << sector_bits) + ((root - 2) << (sector_bits + cluster_bits))
    label = ""
    folder = head.at(start, min(_FOLDER, 1 << (sector_bits + cluster_bits)))
    for at in range(0, len(folder) - 31, 32):
        if folder[at] == 0x83:
            label = text(folder[at + 2 : at + 2 + 2 * min(folder[at + 1], 11)], "utf-16-le")
            break
    state = UNCLEAN if flags & 2 else READY
    return Content(kind="exfat", label=label, uuid=f"{high:04X}-{low:04X}", state=state, size=sectors << sector_bits)
