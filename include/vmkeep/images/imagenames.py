"""Checks the names of imported machines."""

from __future__ import annotations

import unicodedata

from vmkeep.errors import UsageError
from vmkeep.model.imagekeys import image_key
from vmkeep.repository import Repository

_LONGEST_NAME = 255
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of characters (from bytes that are no UTF-8), line and paragraph separators."""


def check_name(name: str) -> str:
    """Return a name if a point can be found by it later.

    :raises UsageError: the name is empty, too long, or has characters that terminals and databases cannot show.
    """
    if not name:
        raise UsageError("--name is empty: name the machine that the images belong to")
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"--name has {len(name)} characters; {_LONGEST_NAME} is the limit")
    bad = next((char for char in name if unicodedata.category(char) in _UNPRINTABLE), None)
    if bad is not None:
        raise UsageError(f"--name {name!r} has a character that cannot be shown: {bad!r}; leave it out")
    return name


def require_own_key(repository: Repository, name: str) -> None:
    """Return if the key of a name holds no points of another machine.

    Two names can share a key, because the key of one may be spelled like the other. Rules and deletions count the
    points of a key as those of one machine. Only the newest point that can be read is looked at. An increment need
    not ask: it continues a point of its own name, and that was stored under this key.

    :raises UsageError: the key holds points of another name.
    """
    key = image_key(name)
    newest = next((read.point for read in repository.newest_first(key) if read.point is not None), None)
    if newest is not None and newest.vm.name != name:
        raise UsageError(
            f"--name {name!r}: its points would be kept under the key {key}, and so are those of {newest.vm.name!r} "
            f"({newest.ref}), so retention would take both for one machine; choose another name"
        )
