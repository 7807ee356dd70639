"""NTFS: its boot sector, its name, and whether its journal was closed.

Two records of the master file table tell more than the boot sector: number 3 is the volume's, and number 2 the
journal's, whose first pages say whether anybody was using it. Layouts are those of Linux's ``fs/ntfs3``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.volumes.detecting.content import READY, REPLAY, UNCLEAN, Content, Head, is_power_of_two, text

_SECTOR: Final = 512
_NAME: Final = 0x60
_INFORMATION: Final = 0x70
_DATA: Final = 0x80
_DIRTY: Final = 0x1
_CLOSED: Final = 0x2
_NOBODY: Final = 0xFFFF
_ATTRIBUTES: Final = 64
"""Most attributes of one record that are looked at; one has less than twenty."""
_PAGE: Final = 4096


def find_ntfs(head: Head) -> Content | None:
    """Find NTFS."""
    if head.at(3, 8) != b"NTFS    ":
        return None
    sector, (code,) = head.number("<H", 11), head.at(13, 1)
    cluster = sector * code if code <= 128 else sector << min(256 - code, 16)
    if not is_power_of_two(sector, 256, 4096) or not is_power_of_two(cluster, 256, 2 << 20):
        return None
    sectors, table = head.numbers("<QQ", 0x28)[0], head.number("<Q", 0x30) * cluster
    per_record = head.number("<b", 0x40)
    size = per_record * cluster if per_record > 0 else 1 << min(-per_record, 16)
    label, state = "", UNCLEAN
    if is_power_of_two(size, 512, 64 << 10):
        label, dirty = _volume(_record(head, table + 3 * size, size))
        state = _journal_state(head, _record(head, table + 2 * size, size), cluster)
        state = UNCLEAN if dirty and state == READY else state
    uuid = f"{head.number('<Q', 0x48):016X}"
    return Content(kind="ntfs", label=label, uuid=uuid, state=state, size=sectors * sector)


def _record(head: Head, offset: int, size: int) -> bytes:
    """Return a record of the table with the last bytes of its sectors put back; empty if it is none."""
    return _mended(head.at(offset, size), b"FILE")


def _mended(raw: bytes, signature: bytes) -> bytes:
    """Put back the last two bytes of each sector, which NTFS keeps in the head to find torn writes; empty if torn."""
    if len(raw) < _SECTOR or raw[:4] != signature:
        return b""
    place, count = struct.unpack_from("<HH", raw, 4)
    if count < 1 or place + 2 * count > len(raw) or (count - 1) * _SECTOR > len(raw):
        return b""
    mark = raw[place : place + 2]
    mended = bytearray(raw)
    for number in range(1, count):
        end = number * _SECTOR - 2
        if raw[end : end + 2] != mark:
            return b""
        mended[end : end + 2] = raw[place + 2 * number : place + 2 * number + 2]
    return bytes(mended)


def _attributes(record: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes of a record: the type and all bytes of each."""
    if len(record) < 48:
        return
    (at,) = struct.unpack_from("<H", record, 0x14)
    for _ in range(_ATTRIBUTES):
        if at + 24 > len(record):
            return
        kind, length = struct.unpack_from("<II", record, at)
        if kind == 0xFFFFFFFF or length < 24 or at + length > len(record):
            return
        yield kind, record[at : at + length]
        at += length


def _value(attribute: bytes) -> bytes:
    """Return the value of an attribute that lies in its record; empty if it lies elsewhere."""
    if attribute[8]:
        return b""
    length, offset = struct.unpack_from("<IH", attribute, 16)
    return attribute[offset : offset + length]


def _volume(record: bytes) -> tuple[str, bool]:
    """Return the volume's name, and whether it is marked as dirty. A record that cannot be read counts as dirty."""
    label, dirty = "", True
    for kind, attribute in _attributes(record):
        value = _value(attribute)
        if kind == _NAME:
            label = text(value[: len(value) & ~1], "utf-16-le")
        elif kind == _INFORMATION and len(value) >= 12:
            dirty = bool(struct.unpack_from("<H", value, 10)[0] & _DIRTY)
    return label, dirty


def _journal_state(head: Head, record: bytes, cluster: int) -> str:
    """Return the state of the journal by its newest restart page. Doubt counts as a journal that needs replay."""
    start = next((_first_cluster(attribute) for kind, attribute in _attributes(record) if kind == _DATA), None)
    if start is None:
        return REPLAY
    newest: tuple[int, bool] | None = None
    for offset in (0, _PAGE):
        raw = head.at(start * cluster + offset, _PAGE)
        if offset == 0 and raw[:4] == b"\xff\xff\xff\xff":
            return READY  # a journal that was emptied
        page = _mended(raw, b"RSTR")
        if not page:
            continue
        (area,) = struct.unpack_from("<H", page, 24)
        if area + 16 > len(page):
            continue
        number, _, _, users, flags = struct.unpack_from("<QHHHH", page, area)
        if newest is None or number > newest[0]:
            newest = number, users == _NOBODY or bool(flags & _CLOSED)
    return READY if newest is not None and newest[1] else REPLAY


def _first_cluster(attribute: bytes) -> int | None:
    """Return the first cluster of an attribute that lies outside its record."""
    if not attribute[8] or len(attribute) < 34:
        return None
    (at,) = struct.unpack_from("<H", attribute, 32)
    if at >= len(attribute):
        return None
    lengths, places = attribute[at] & 15, attribute[at] >> 4
    raw = attribute[at + 1 + lengths : at + 1 + lengths + places]
    if not 0 < len(raw) <= 8 or len(raw) != places:
        return None
    return int.from_bytes(raw, "little", signed=True)
