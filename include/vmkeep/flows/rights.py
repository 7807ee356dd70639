"""Lists the rights that a vCenter user needs, for a person who sets up a role."""

from __future__ import annotations

from vmkeep.model.purpose import PURPOSES
from vmkeep.vsphere.rights import Right, rights_of


def needed_rights(word: str | None) -> list[tuple[str, Right]]:
    """Return the rights that one kind of run needs, or those of all kinds, each right with the word of its kind."""
    return [(name, right) for name, kind in PURPOSES.items() if word in (None, name) for right in rights_of(kind)]
