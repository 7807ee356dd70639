"""Lists the rights that a vCenter user needs, for a person who sets up a role."""

from __future__ import annotations

from vmkeep.vsphere.rights import Purpose, Right, rights_of

PURPOSES = {
    "backup": Purpose.BACKUP,
    "restore-over": Purpose.RESTORE_OVER,
    "restore-new": Purpose.RESTORE_NEW,
    "attach": Purpose.ATTACH,
    "host-backup": Purpose.HOST_BACKUP,
    "guest-files": Purpose.GUEST_FILES,
}
"""Kinds of run, by the words of the command line."""


def needed_rights(word: str | None) -> list[tuple[str, Right]]:
    """Return the rights that one kind of run needs, or those of all kinds, each right with the word of its kind."""
    return [(name, right) for name, kind in PURPOSES.items() if word in (None, name) for right in rights_of(kind)]
