"""Malware scans: the files that were looked at, the finds, and the files of which nothing is known."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import ProofResult
from vmkeep.model.scanfacts import ScannerFacts, ScanScope
from vmkeep.model.wording import counted


class ScanFirst(StrEnum):
    """The scan of a point before it is restored."""

    NO = "no"
    REFUSE = "refuse"
    """Scan the whole point, and restore nothing if malware is found or a part cannot be scanned."""
    WARN = "warn"
    """Scan the whole point, and say the outcome in the plan's warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMalware:
    """A file in which a scanner found something."""

    volume: str
    path: str
    signature: str
    """The scanner's name for its find, e.g. ``Win.Test.EICAR_HDB-1``, or the name of a rule."""
    scanner: str
    size: int
    sha256: str
    """Digest of the file's content, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscannedFile:
    """A file of which nobody knows whether it is clean."""

    volume: str
    path: str
    size: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedVolume:
    """One volume of a point, after a scan."""

    name: str
    kind: str
    """Kind of its file system; empty: not known."""
    files: int = 0
    """Files that were scanned whole, by every scanner."""
    bytes_scanned: int = 0
    found: int = 0
    """Files in which something was found."""
    unscanned: int = 0
    """Files that were not scanned, or not whole."""
    unchanged: int = 0
    """Files that a scan of changed files left out, because they are as they were."""
    problem: str = ""
    """The reason why the volume was not looked at, or not to its end; empty: it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOutcome:
    """The outcome of the scan that the run of a restore has done, which counts whether it is kept or not."""

    result: ProofResult
    text: str
    """In one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedPoint:
    """The outcome of a malware scan of a restore point."""

    point: str
    """Ref."""
    vm: str
    taken_at: datetime
    scope: ScanScope
    since: str | None = None
    """Ref of the older point, for a scan of changed files."""
    scanners: tuple[ScannerFacts, ...]
    volumes: tuple[ScannedVolume, ...]
    findings: tuple[FoundMalware, ...] = ()
    """The first finds; :attr:`found` has their number."""
    unscanned: tuple[UnscannedFile, ...] = ()
    """The first files that were not scanned; :attr:`left` has their number."""
    finders: tuple[str, ...] = ()
    """Names of the scanners that have found something, also where their finds are no longer among the first."""
    left_before: int = 0
    """Files that the older scans left out, on which a scan of changed files stands."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def files(self) -> int:
        """Number of files that were scanned whole."""
        return sum(volume.files for volume in self.volumes)

    @property
    def found(self) -> int:
        """Number of files in which something was found."""
        return sum(volume.found for volume in self.volumes)

    @property
    def left(self) -> int:
        """Number of files that were not scanned, or not whole."""
        return sum(volume.unscanned for volume in self.volumes)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each volume that could not be scanned."""
        return tuple(f"{volume.name}: {volume.problem}" for volume in self.volumes if volume.problem)

    @property
    def result(self) -> ProofResult:
        """Failed: something was found. Undecided: a part could not be read, or most was left out. Else passed."""
        if self.found:
            return ProofResult.FAILED
        if self.problems or not self.volumes or self._left_most:
            return ProofResult.UNDECIDED
        return ProofResult.PASSED

    @property
    def _left_most(self) -> bool:
        """Whether more files were left out than were scanned now, or before and are unchanged."""
        return self.left > self.files + sum(volume.unchanged for volume in self.volumes)

    @property
    def outcome(self) -> ScanOutcome:
        """The outcome for the plan of a restore."""
        return ScanOutcome(result=self.result, text=self.line)

    @property
    def line(self) -> str:
        """The outcome in one sentence."""
        looked = f"{counted(self.files, 'file')} scanned"
        left = f", {self.left:,} not scanned" if self.left else ""
        left += f", {self.left_before:,} left out by older scans" if self.left_before else ""
        if self.found:
            first = self.findings[0]
            return (
                f"malware in {counted(self.found, 'file')}: {first.volume}:{first.path} ({first.signature})"
                f"{' and others' if self.found > 1 else ''}; {looked}{left}"
            )
        if not self.volumes:
            return "no volume with files was found, so nothing was scanned"
        if self.problems:
            return f"nothing found, but not everything was scanned: {'; '.join(self.problems[:3])}; {looked}{left}"
        if self._left_most:
            return f"nothing found, but most files were not scanned: {looked}{left}"
        return f"nothing found: {looked}{left}"
