"""The facts of a malware scan by which later scans and readers judge a point. They are kept whole in its proof."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from vmkeep.lateclass import dataclass


class ScanScope(StrEnum):
    """The files of a point that a scan looks at."""

    WHOLE = "whole"
    """All files of all volumes."""
    CHANGED = "changed"
    """The files that differ from those of an older point."""
    PART = "part"
    """Files of some volumes only. Such a scan can find malware, but no point is clean by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerFacts:
    """A scanner, and the age of its knowledge."""

    name: str
    """``ClamAV`` or ``YARA``."""
    version: str
    signatures: str = ""
    """Version of the signatures, or the number of rules; empty: the scanner does not tell."""
    signatures_at: datetime | None = None
    """Date of the newest signatures; ``None``: the scanner does not tell."""
    rules: str = ""
    """The places of YARA's rules; a scan by other rules takes back none of their finds."""

    @property
    def line(self) -> str:
        """The scanner in words."""
        dated = f" of {self.signatures_at:%Y-%m-%d}" if self.signatures_at else ", of an unknown date"
        if self.rules:
            return f"{self.version}, {self.signatures}{dated}"
        return f"{self.name} {self.version}, signatures {self.signatures or 'without a version'}{dated}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFacts:
    """The reach of a scan: the files it looked at, the scanners it asked, and the older points it stands on."""

    scope: ScanScope | None
    """``None``: nobody knows, because the proof of an earlier program has lost it."""
    scanners: tuple[ScannerFacts, ...] = ()
    finders: tuple[str, ...] = ()
    """Names of the scanners that have found something."""
    chain: tuple[str, ...] = ()
    """Refs of the clean older points on which a scan of changed files stands, the newest first."""
    whole_at: datetime | None = None
    """The time of the scan of all files on which this one stands, maybe its own."""
    left: int = 0
    """Files that were not scanned, or not whole, by this scan and those on which it stands."""
    found_in: str | None = None
    """Ref of the older point in which the malware was found, if it was not in this one."""
