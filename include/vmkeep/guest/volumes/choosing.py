"""Chooses the content of a volume that bears the signatures of several things.

A signature may be left over from an earlier use of the disk, and a guest may write one where nobody needs the bytes:
the label of LVM fits into the unused boot block of an ext4. So a file system that can be opened is never hidden by
another signature, and a doubt that is left is said with the volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.filesystems import KINDS, open_file_system
from vmkeep.guest.volumes.detecting import Content, Head, find_member
from vmkeep.guest.volumes.volume import NO_FILES
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

_MEMBER: Final = "raid-member"
_SUPERBLOCK_ROOM: Final = 256 << 10
"""Bytes at the end of a member that its array may leave unused, for the superblock and for whole chunks."""
_BITLOCKER: Final = "bitlocker"
"""A stick that BitLocker To Go encrypts shows a small FAT with a program, which is no content of the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The content that is shown for a volume."""

    content: Content
    warnings: tuple[str, ...] = ()
    is_ambiguous: bool = False
    """Whether another content, which is not shown, may be there too."""


def choose(disk: RandomDisk, contents: Sequence[Content]) -> Choice:
    """Choose among the contents whose signatures a volume bears.

    :param contents: the likeliest first; at least one.
    """
    first, *others = contents
    if not others or _is_below(disk, first):
        return Choice(content=first)
    systems = [each for each in contents if each.kind in KINDS and not each.refusal]
    opened = [each for each in systems if _opens(disk, each.kind)]
    if first.kind == _BITLOCKER or not opened:
        return _unopened(first, others)
    chosen = opened[0]
    rest = [each for each in contents if each is not chosen]
    likelier = contents[: contents.index(chosen)]
    if len(opened) > 1 or any(map(_may_have_files, rest)) or any(each.kind in KINDS for each in likelier):
        doubt = f"it also bears the marks of {_named(rest)}; files that only those show are not seen"
        return Choice(content=chosen, warnings=(doubt,), is_ambiguous=True)
    return Choice(
        content=chosen, warnings=(f"it also bears the marks of {_named(rest)}, which are probably left over",)
    )


def _may_have_files(content: Content) -> bool:
    """Return whether a content that is no file system we read may have files, by itself or as a part of an array."""
    return content.kind == _MEMBER or (content.kind not in KINDS and content.kind not in NO_FILES)


def _unopened(first: Content, others: Sequence[Content]) -> Choice:
    """Return the likeliest of contents of which none is a file system that can be opened."""
    if first.kind not in KINDS:
        others = [each for each in others if each.kind not in NO_FILES]
    if not others:
        return Choice(content=first)
    if first.kind in KINDS:
        return Choice(content=first, warnings=(f"it also bears the marks of {_named(others)}",))
    doubt = f"it also bears the marks of {_named(others)}, in which no files can be read"
    return Choice(content=first, warnings=(doubt,), is_ambiguous=True)


def _is_below(disk: RandomDisk, content: Content) -> bool:
    """Return whether a content is a member of an array that shows the array's own signatures.

    The data of such a member begin at the volume's first byte, and take all of it but the superblock's room. Its array
    is listed for itself. A guest could write another superblock to hide what lies on the volume.
    """
    member = find_member(Head(disk)) if content.kind == _MEMBER else None
    return member is not None and member.data == 0 and member.size + _SUPERBLOCK_ROOM >= disk.capacity


def _opens(disk: RandomDisk, kind: str) -> bool:
    """Return whether the root folder of a file system can be listed."""
    try:
        with open_file_system(disk, kind, what=kind) as files:
            next(iter(files.entries("/")), None)
    except (CorruptError, UnsupportedError, NotFoundError):
        return False
    return True


def _named(contents: Sequence[Content]) -> str:
    return " and ".join(each.kind for each in contents)
