"""Gives a finished file its final name over SFTP, unless that name is taken."""

from __future__ import annotations

from typing import Any

from paramiko.sftp import CMD_EXTENDED


def exists(channel: Any, path: str) -> bool:
    """Return whether a file or folder of that name exists."""
    try:
        channel.stat(path)
    except FileNotFoundError:
        return False
    return True


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
