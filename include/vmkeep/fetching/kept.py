"""Decides which facts of a guest's file this machine may keep."""

from __future__ import annotations

import errno
import os
import stat
from datetime import datetime
from typing import Final

from vmkeep.errors import UnsupportedError
from vmkeep.fetching.names import name_bytes
from vmkeep.fetching.report import Report
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

_RIGHTS: Final = 0o777
"""Bits of a mode that are kept in a folder."""
_SPECIAL: Final = stat.S_ISUID | stat.S_ISGID
_POWERFUL: Final = ("security.capability",)
"""Attributes that give a program rights, as set-user-ID does."""
_REFUSED: Final = {errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EACCES}


def nanoseconds(moment: datetime) -> int:
    """Return a time in nanoseconds since 1970, exactly as far as a datetime goes."""
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def keep_facts(file: int, files: GuestFileSystem, entry: FileEntry, report: Report) -> None:
    """Give an open file or folder the owner, attributes, mode and time that the entry had in the guest."""
    if os.geteuid() == 0:
        if entry.uid is not None and entry.gid is not None:
            os.fchown(file, entry.uid, entry.gid)
    elif entry.uid not in (None, os.geteuid()):
        report.leave_out("the owner: only root may give files to others; a tar archive keeps it", entry.path)
    for name, value in attributes_of(files, entry, report).items():
        _keep_attribute(file, entry, name, value, report)
    if entry.mode is not None:
        if entry.mode & _SPECIAL and entry.kind is FileKind.FILE:
            report.leave_out("set-user-ID and set-group-ID, which would work on this machine", entry.path)
        os.fchmod(file, entry.mode & _RIGHTS)
    else:
        os.fchmod(file, 0o700 if entry.kind is FileKind.FOLDER else 0o600)
    if entry.modified is not None:
        os.utime(file, ns=(nanoseconds(entry.modified),) * 2)


def attributes_of(files: GuestFileSystem, entry: FileEntry, report: Report) -> dict[str, bytes]:
    """Return an entry's extended attributes. If they are of a kind that cannot be read, that is noted."""
    try:
        return files.attributes(entry.path)
    except UnsupportedError as error:
        report.leave_out(f"extended attributes: {error}", entry.path)
        return {}


def _keep_attribute(file: int, entry: FileEntry, name: str, value: bytes, report: Report) -> None:
    if name in _POWERFUL:
        report.leave_out(f"{name}, which would give rights on this machine", entry.path)
        return
    try:
        os.setxattr(file, name_bytes(name), value)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        space = name.partition(".")[0]
        report.leave_out(f"extended attributes '{space}.…': {error.strerror} (a tar archive keeps them)", entry.path)
