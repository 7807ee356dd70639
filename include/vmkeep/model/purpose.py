"""The kinds of run that need rights in vSphere, and the words by which a person names them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """A kind of run."""

    BACKUP = "backup"
    RESTORE_OVER = "restore over a VM"
    RESTORE_NEW = "restore to a new VM"
    ATTACH = "attach disks to a VM"
    HOST_BACKUP = "backup of a host's configuration"
    GUEST_FILES = "files back into a guest"


PURPOSES: Final = {
    "backup": Purpose.BACKUP,
    "restore-over": Purpose.RESTORE_OVER,
    "restore-new": Purpose.RESTORE_NEW,
    "attach": Purpose.ATTACH,
    "host-backup": Purpose.HOST_BACKUP,
    "guest-files": Purpose.GUEST_FILES,
}
"""Kinds of run, by the words of the command line."""
DEFAULT_ROLE: Final = "vmkeep"
"""Name of the role in vSphere that has the rights for them."""
