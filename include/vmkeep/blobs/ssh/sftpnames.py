"""Gives a finished file its final name over SFTP, unless that name is taken; and tells names that lead nowhere."""

from __future__ import annotations

import stat
from pathlib import PurePosixPath
from typing import Any

from paramiko.sftp import CMD_EXTENDED

from vmkeep.errors import StoreError


def exists(channel: Any, path: str) -> bool:
    """Return whether a file or folder of that name exists."""
    try:
        channel.stat(path)
    except FileNotFoundError:
        return False
    return True


def require_links(channel: Any, root: PurePosixPath, key: str) -> None:
    """Return if no link on the way to something that is not found leads nowhere.

    :param key: the parts of the way below the root, with slashes between.
    :raises StoreError: a link leads nowhere, e.g. to a disk that is not mounted.
    """
    path = root
    for part in filter(None, key.split("/")):
        path /= part
        try:
            is_link = stat.S_ISLNK(channel.lstat(str(path)).st_mode)
        except FileNotFoundError:
            return
        if is_link and not exists(channel, str(path)):
            raise StoreError(
                f"{path}: is a link to {channel.readlink(str(path))}, where nothing is: mount the disk with it on the "
                "server, or remove the link if what it led to is gone for good"
            )


def name_if_free(channel: Any, temporary: str, path: str) -> bool:
    """Give a file its final name, unless that name is taken; return whether it was free.

    The file may keep its first name, too. The server reports a taken name like most other failures. So after a failure,
    this looks whether the name is taken.

    :raises FileNotFoundError: the file, or the folder for its final name, is gone.
    """
    for name in (link, rename):
        try:
            name(channel, temporary, path)
            return True
        except FileNotFoundError:
            raise
        except OSError as error:
            failure = error
            if exists(channel, path):
                return False
    raise failure


def link(channel: Any, old: str, new: str) -> None:
    """Make a hard link, by ``hardlink@openssh.com`` (OpenSSH's PROTOCOL, 4.5).

    :raises OSError: the new name is taken, or the server or its file system has no hard links.
    """
    channel._request(CMD_EXTENDED, "hardlink@openssh.com", old, new)  # noqa: SLF001


def rename(channel: Any, old: str, new: str) -> None:
    """Rename a file by SFTP's own request, which should fail if the new name is taken."""
    channel.rename(old, new)
