"""Quiescing as a person asks for it: one word for how strict the request is, and one for the level."""

from __future__ import annotations

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.point import Quiesce

QUIESCE_CHOICES = ("preferred", "required", "preferred:application", "off")
"""The texts to offer. The first one is the default."""
OLDER_QUIESCE_CHOICES = ("file-system", "application", "none")
"""Texts of older programs, which stay valid: a level alone is preferred, and ``none`` is ``off``."""

_OFF = "off"
_REQUIRED = "required"
_PREFERRED = "preferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuiesceRequest:
    """A request to let the guest write out its data before the snapshot."""

    level: Quiesce
    required: bool = False
    """Without quiescing, there is no backup."""

    def __post_init__(self) -> None:
        """Refuse a request that no backup could keep.

        :raises UsageError: applications are required, or nothing is required.
        """
        if self.required and self.level is Quiesce.APPLICATION:
            raise UsageError(
                "quiesce 'required:application' cannot be kept, because vSphere does not tell whether applications "
                "took part: use 'required' for flushed file systems, or 'preferred:application'"
            )
        if self.required and self.level is Quiesce.NONE:
            raise UsageError("quiesce cannot be required and off at once: choose one of them")

    def __str__(self) -> str:
        """Return the text that asks for this."""
        if self.level is Quiesce.NONE:
            return _OFF
        strictness = _REQUIRED if self.required else _PREFERRED
        return strictness if self.level is Quiesce.FILE_SYSTEM else f"{strictness}:{self.level}"


def parse_quiesce(text: str) -> QuiesceRequest:
    """Parse ``required``, ``preferred``, ``off``, one of them with a level (``preferred:application``), or a level.

    :raises UsageError: the text is none of these, or asks for something that no backup could keep.
    """
    if text in (_OFF, Quiesce.NONE):
        return QuiesceRequest(level=Quiesce.NONE)
    strictness, colon, level = text.partition(":")
    if not colon and strictness in OLDER_QUIESCE_CHOICES:
        strictness, level = _PREFERRED, strictness
    levels = {"": Quiesce.FILE_SYSTEM, **{known.value: known for known in (Quiesce.FILE_SYSTEM, Quiesce.APPLICATION)}}
    if strictness not in (_REQUIRED, _PREFERRED) or level not in levels or (colon and not level):
        raise UsageError(f"'{text}' is no way to quiesce; choose from {', '.join(QUIESCE_CHOICES)}")
    return QuiesceRequest(level=levels[level], required=strictness == _REQUIRED)
