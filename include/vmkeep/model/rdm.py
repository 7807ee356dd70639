"""The replacement of a saved raw device mapping (RDM) in a new VM, and the words by which a person asks for it."""

from __future__ import annotations

from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass


class RdmReplacement(StrEnum):
    """The replacement of an RDM in a new VM."""

    PLACEHOLDER = "placeholder"
    """A small empty virtual disk."""
    LUN = "lun"
    """An RDM of a free LUN that a person names."""
    AUTO = "auto"
    """An RDM of a free LUN that is found. Nothing is written to that LUN."""
    DISK = "disk"
    """An ordinary disk of the LUN's size. It gets the content, if the backup holds that; else it is empty."""
    OMIT = "omit"
    """No disk."""


MAPPED = (RdmReplacement.LUN, RdmReplacement.AUTO)
"""The replacements that are RDMs again."""
_HOW = {
    **dict.fromkeys(MAPPED, ("virtual", "physical")),
    RdmReplacement.DISK: ("thin", "thick", "eager"),
}
"""The words that may follow a replacement: the mode of the new RDM, or the format of the ordinary disk."""
RDM_WORDS = tuple(
    word for one in RdmReplacement for word in (one.value, *(f"{one}:{how}" for how in _HOW.get(one, ())))
)
"""Every word that asks for a replacement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RdmChoice:
    """The replacement that a person asks for."""

    replacement: RdmReplacement
    how: str = ""
    """``virtual`` or ``physical`` for an RDM, empty: as it was saved. ``thin``, ``thick`` or ``eager`` for a disk,
    empty: thin."""

    @property
    def mapped(self) -> bool:
        """Whether the disk becomes an RDM again."""
        return self.replacement in MAPPED

    def is_physical(self, *, saved: bool) -> bool:
        """Return whether a new RDM is one in physical mode.

        :param saved: whether the saved one was. A new one is too, unless the choice tells a mode.
        """
        return self.how == "physical" if self.mapped and self.how else saved


def rdm_choice(word: str) -> RdmChoice:
    """Return the replacement that a word asks for, such as ``lun:virtual``.

    :raises UsageError: it is no such word.
    """
    if word not in RDM_WORDS:
        raise UsageError(f"an RDM cannot become '{word}'; choose from {', '.join(RDM_WORDS)}")
    replacement, _, how = word.partition(":")
    return RdmChoice(replacement=RdmReplacement(replacement), how=how)
