"""Lists the blobs below a folder over SFTP, and follows the links that a person has put in the place of folders."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from vmkeep.blobs.ssh.sftpnames import exists
from vmkeep.blobs.store import BlobInfo
from vmkeep.errors import StoreError

log = logging.getLogger(__name__)


def walk(channel: Any, root: PurePosixPath, prefix: str) -> Iterator[BlobInfo]:
    """Yield the blobs whose keys begin with a prefix, sorted by key.

    :param prefix: empty, or ending in ``/``.
    :raises StoreError: a link leads nowhere.
    """
    try:
        entries = channel.listdir_attr(str(root / prefix))
    except FileNotFoundError:
        require_links(channel, root, prefix)
        return
    seen = (_followed(channel, root, prefix, entry) for entry in entries if not entry.filename.startswith("."))
    named = [(entry.filename + "/" * stat.S_ISDIR(entry.st_mode), entry) for entry in seen if entry is not None]
    for name, entry in sorted(named, key=lambda pair: pair[0]):
        if name.endswith("/"):
            yield from walk(channel, root, prefix + name)
        else:
            modified = datetime.fromtimestamp(entry.st_mtime, UTC)
            yield BlobInfo(key=prefix + name, size=entry.st_size, modified=modified)


def _followed(channel: Any, root: PurePosixPath, prefix: str, entry: Any) -> Any:
    """Return an entry of a folder, or what it leads to if it is a link; ``None``: it is gone, or leads back."""
    if not stat.S_ISLNK(entry.st_mode):
        return entry
    path = root / prefix / entry.filename
    try:
        found = channel.stat(str(path))
    except FileNotFoundError:
        require_links(channel, root, prefix + entry.filename)
        return None  # it was deleted during the listing
    if stat.S_ISDIR(found.st_mode) and _leads_back(channel, path):
        log.warning("%s: leads back to a folder above it, so it is left out", path)
        return None
    found.filename = entry.filename
    return found


def _leads_back(channel: Any, path: PurePosixPath) -> bool:
    """Return whether a link leads to a folder above itself, so that a walk through it would not end."""
    target, place = (PurePosixPath(channel.normalize(str(each))) for each in (path, path.parent))
    return place.is_relative_to(target)


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
