"""Lists the members of a tar archive from a stranger, such as an OVA, so that they can be read where they lie.

POSIX's ustar and pax, and GNU tar's long names and large sizes are understood. Nothing is unpacked. A member is a plain
file with a plain name: links, devices, folders and sparse files are refused, so that no archive leads out of itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.errors import UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.lateclass import dataclass

_BLOCK = 512
_MOST_MEMBERS = 1000
_LARGEST_EXTENSION = 64 << 10
"""Largest list of pax records, or long name, in bytes."""
_LONGEST_NUMBER = 20
_REFUSED = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
    b"S": "a sparse file", b"K": "a link with a long name", b"M": "a part of a file", b"V": "a label",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in an archive."""

    name: str
    offset: int
    """Where its bytes begin in the archive."""
    size: int
    """Bytes."""


def list_members(archive: ImageFile) -> tuple[Member, ...]:
    """Return the members of an archive, in its order.

    :raises UsageError: it is no tar archive, is cut off, or has a member that is no plain file.
    """
    found = tuple(_members(archive))
    names = [member.name for member in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{archive.name}: holds two files of the name {twice}")
    return found


def _members(archive: ImageFile) -> Iterator[Member]:
    at, count = 0, 0
    longer: dict[str, str] = {}
    while any(header := _header(archive, at)):
        kind = header[156:157]
        size = _size(archive, at, header, longer)
        data = at + _BLOCK
        if data + size > archive.size:
            raise UsageError(
                f"{archive.name}: is cut off: its member at byte {at} needs {size} bytes, and "
                f"{archive.size - data} are there"
            )
        at = data + -(-size // _BLOCK) * _BLOCK
        if kind in b"xgL":
            longer |= _extension(archive, kind, data, size)
            continue
        name = longer.get("path") or _short_name(header)
        if kind in _REFUSED or kind not in b"0\0" or "GNU.sparse" in longer:
            what = _REFUSED.get(kind, "a sparse file" if "GNU.sparse" in longer else f"of the unknown type {kind!r}")
            raise UsageError(f"{archive.name}: its member '{_shown(name)}' is {what}; an OVA holds plain files only")
        count += 1
        if count > _MOST_MEMBERS:
            raise UsageError(f"{archive.name}: holds more than {_MOST_MEMBERS} files, so it is no OVA")
        longer = {}
        yield Member(name=_plain(archive, name), offset=data, size=size)


def _header(archive: ImageFile, at: int) -> bytes:
    if at + _BLOCK > archive.size:
        raise UsageError(f"{archive.name}: is cut off: no end of the archive is found at byte {at}")
    header = archive.read(at, _BLOCK)
    if not any(header):
        return b""
    blank = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blank)
    if header[257:262] != b"ustar" or _number(archive, at, header[148:156]) not in (sum(blank), signed):
        raise UsageError(f"{archive.name}: is damaged, or no tar archive: there is no header of a file at byte {at}")
    return header


def _size(archive: ImageFile, at: int, header: bytes, longer: dict[str, str]) -> int:
    if header[156:157] in b"xgL" or "size" not in longer:
        return _number(archive, at, header[124:136])
    text = longer["size"]
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise UsageError(f"{archive.name}: is damaged: the size of the member at byte {at} is '{_shown(text)}'")
    return int(text)


def _number(archive: ImageFile, at: int, text: bytes) -> int:
    """Parse an octal number, or a binary one as GNU tar writes it for sizes from 8 GiB on."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    try:
        return int(text.strip(b" \0") or b"0", 8)
    except ValueError:
        raise UsageError(f"{archive.name}: is damaged: the header at byte {at} has a field that is no number") from None


def _extension(archive: ImageFile, kind: bytes, at: int, size: int) -> dict[str, str]:
    """Return what a pax header or a long name tells of the next member."""
    if size > _LARGEST_EXTENSION:
        raise UsageError(f"{archive.name}: the header at byte {at - _BLOCK} has {size} bytes, which no OVA needs")
    data = archive.read(at, size)
    if kind == b"L":
        return {"path": data.rstrip(b"\0").decode(errors="replace")}
    records: dict[str, str] = {}
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or len(length) > _LONGEST_NUMBER or not len(length) + 1 < int(length) <= len(data):
            raise UsageError(f"{archive.name}: is damaged: the records at byte {at} do not fit together")
        key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        if key in (b"path", b"size"):
            records[key.decode()] = value.decode(errors="replace")
        elif key.startswith(b"GNU.sparse"):
            records["GNU.sparse"] = "1"
        data = data[int(length) :]
    return records if kind == b"x" else {}  # a name or a size for all members would be nonsense


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="replace")


def _plain(archive: ImageFile, name: str) -> str:
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or "/" in plain or "\\" in plain or "\0" in plain:
        raise UsageError(
            f"{archive.name}: its member '{_shown(name)}' lies in a folder; an OVA holds its files side by side"
        )
    return plain


def _shown(text: str) -> str:
    return text[:200].encode("unicode_escape").decode()
