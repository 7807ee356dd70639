"""Reparse points: symbolic links, junctions, and files whose content is somewhere else."""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.filesystems.values import posix_name, utf16_name
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileKind

_SYMLINK: Final = 0xA000000C
_JUNCTION: Final = 0xA0000003
_LINUX_SYMLINK: Final = 0xA000001D
_KINDS: Final = {
    0x80000023: FileKind.SOCKET,
    0x80000024: FileKind.PIPE,
    0x80000025: FileKind.DEVICE,
    0x80000026: FileKind.DEVICE,
}
_REASONS: Final = {
    0x80000013: "Windows has deduplicated it, and its content lies in the chunk store of the volume",
    0x80000017: "Windows has compressed it (WOF, Compact OS), which vmkeep cannot unpack",
}
_CLOUD: Final = 0x9000001A
_CLOUD_MASK: Final = 0xFFFF0FFF


@dataclass(frozen=True, slots=True)
class Link:
    """The meaning of a reparse point."""

    kind: FileKind | None
    """The kind of entry that it makes; ``None``: the entry stays a file or a folder."""
    target: str | None
    refusal: str
    """The reason why the content of a file cannot be read."""


def parse_link(data: bytes) -> Link:
    """Read a reparse point. One that is cut is refused when its content is asked for."""
    if len(data) < 8:
        return Link(None, None, "its reparse point is cut")
    tag, length = struct.unpack_from("<IH", data)
    body = data[8 : 8 + length]
    if tag in (_SYMLINK, _JUNCTION):
        return Link(FileKind.SYMLINK, _windows_target(body, 12 if tag == _SYMLINK else 8), "")
    if tag == _LINUX_SYMLINK:
        return Link(FileKind.SYMLINK, posix_name(body[4:]), "")
    if tag in _KINDS:
        return Link(_KINDS[tag], None, "")
    if tag & _CLOUD_MASK == _CLOUD:
        return Link(None, None, "its content is in a cloud (e.g. OneDrive), not on the disk")
    return Link(None, None, _REASONS.get(tag, f"another driver keeps its content (reparse tag 0x{tag:08x})"))


def _windows_target(body: bytes, head: int) -> str | None:
    """Return the name that Windows shows, or the one that it follows."""
    if len(body) < head:
        return None
    followed, followed_length, shown, shown_length = struct.unpack_from("<4H", body)
    start, length = (shown, shown_length) if shown_length else (followed, followed_length)
    name = body[head + start : head + start + length]
    return utf16_name(name) if len(name) == length and not length % 2 else None
