"""Words for files of a guest. Its names were given by strangers, so nothing of them reaches a terminal as it is."""

from __future__ import annotations

import stat
from datetime import tzinfo
from typing import Any, Final

import msgspec

from vmkeep.cli.output import escape
from vmkeep.cli.times import shown_second
from vmkeep.errors import UsageError
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.sizes import parse_size

_TYPES: Final = {
    FileKind.FILE: stat.S_IFREG, FileKind.FOLDER: stat.S_IFDIR, FileKind.SYMLINK: stat.S_IFLNK,
    FileKind.PIPE: stat.S_IFIFO, FileKind.SOCKET: stat.S_IFSOCK, FileKind.DEVICE: stat.S_IFBLK,
}  # fmt: skip


def shown_path(path: str) -> str:
    """Return a path in which each character that a terminal would obey or hide is an escape, as Python writes it.

    A byte that is no UTF-8 becomes a backslash, an x and its number. A backslash of the name itself is doubled.
    """
    return "".join(each if each.isprintable() and each != "\\" else escape(each) for each in path)


def long_line(entry: FileEntry, zone: tzinfo, *, name: str) -> str:
    """Return an entry in one line: mode, owner, size in bytes, time of the last change, and name."""
    mode = "-" * 10 if entry.mode is None else stat.filemode(_TYPES.get(entry.kind, 0) | entry.mode)
    if entry.mode is None and entry.kind is FileKind.FOLDER:
        mode = "d---------"
    owner = "-" if entry.uid is None else f"{entry.uid}:{entry.gid}"
    when = "-" if entry.modified is None else shown_second(entry.modified, zone)
    target = f" -> {shown_path(entry.target)}" if entry.target is not None else ""
    return f"{mode} {owner:>11} {entry.size:>15} {when:>19} {name}{target}"


def file_document(volume: str, entry: FileEntry, **more: object) -> dict[str, Any]:
    """Return an entry as a script gets it."""
    return {"volume": volume, **as_document(entry), **more}


def as_document(value: object) -> Any:
    """Return a value as a script gets it. A byte of a name that is no UTF-8 stays Python's stand-in for it.

    Other commands take `to_plain`, which refuses such names.
    """
    return msgspec.to_builtins(value)


def parse_file_size(text: str) -> int:
    """Return the bytes of a size such as ``10MiB``.

    :raises UsageError: it is none.
    """
    if (found := parse_size(text)) is None:
        raise UsageError(f"'{text}' is not a size: write a number of bytes, or e.g. 10MiB")
    return found
