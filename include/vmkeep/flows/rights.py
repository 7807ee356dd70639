"""The rights that a vCenter user needs."""

from __future__ import annotations

from vmkeep.vsphere.rights import Purpose, Right, rights_of

PURPOSES = {"backup": Purpose.BACKUP, "restore-over": Purpose.RESTORE_OVER, "restore-new": Purpose.RESTORE_NEW}
"""Kinds of run, by the words that people choose them by."""


def needed_rights(word: str | None) -> list[tuple[str, Right]]:
    """Return the rights of one kind of run, or of all of them, each with the kind's word."""
    return [(name, right) for name, kind in PURPOSES.items() if word in (None, name) for right in rights_of(kind)]
