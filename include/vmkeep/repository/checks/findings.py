"""The findings of a check, as values."""

from __future__ import annotations

import threading
from enum import StrEnum

from vmkeep.lateclass import dataclass


class Trouble(StrEnum):
    """The kinds of damage."""

    STRUCTURE = "structure"
    """A blob does not parse, is cut off, or is another one than its name says."""
    MISSING = "missing"
    """Something that is referred to does not exist."""
    DIGEST = "digest"
    """Content does not match its digest."""
    POINT = "point"
    """A restore point that one of the above damages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem."""

    trouble: Trouble
    where: str
    """Blob key, or ref of a restore point with the disk's label and the byte."""
    what: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.trouble}: {self.where}: {self.what}"


class Findings:
    """Collects findings from several threads."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._lock = threading.Lock()

    def add(self, trouble: Trouble, where: str, what: object) -> None:
        """Add one finding."""
        with self._lock:
            self._found.append(Finding(trouble=trouble, where=where, what=str(what)))

    def all(self) -> list[Finding]:
        """Return all findings, sorted by kind and place."""
        return sorted(self._found, key=lambda finding: (list(Trouble).index(finding.trouble), finding.where))
