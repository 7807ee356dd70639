"""Names of exports and of their files, from names of VMs, which may hold anything."""

from __future__ import annotations

import unicodedata

from vmkeep.errors import UsageError

_LONGEST = 180
"""Bytes of a name. A file's name has up to 255, and disk and piece numbers and the end are added."""
_BAD = frozenset('/\\:*?"<>|%,=')
"""Characters that some file system, some format's descriptor or Proxmox's options cannot hold in a name."""


def safe_name(name: str, *, end: str = "") -> str:
    """Return a name for files, as close to a VM's name as every file system allows.

    :param end: safe text that follows the VM's name, which gives way where both together are too long.
    """
    normal = unicodedata.normalize("NFC", name)
    mapped = "".join("-" if _is_bad(each) else each for each in normal)
    return (_cut(mapped, _LONGEST - len(end.encode())).strip(" .-") or "vm") + end


def check_export_name(name: str) -> str:
    """Return a name that a person gave for an export.

    :raises UsageError: some file system cannot hold a file of that name. The message offers one.
    """
    if name != safe_name(name):
        raise UsageError(f"--name {name!r} cannot begin the names of files everywhere; '{safe_name(name)}' can")
    return name


def disk_name(name: str, number: int) -> str:
    """Return the name of a disk's files, without their ends."""
    return f"{name}-disk{number}"


def _is_bad(character: str) -> bool:
    return character in _BAD or not character.isprintable()


def _cut(name: str, length: int) -> str:
    return name.encode()[:length].decode(errors="ignore")
