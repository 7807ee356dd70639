"""Proofs: the outcomes of checks of a restore point. They are kept with the point, and the last ones with its VM."""

from __future__ import annotations

from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.model.scanfacts import ScanFacts

PICTURE: Final = "screen.png"
"""Name of the file of a proof that shows a machine's screen."""


class ProofKind(StrEnum):
    """The question that a check has answered about a point, from the weakest proof to the strongest."""

    WRITTEN = "written"
    """Some or all blocks were read back when the point was written."""
    DIGESTS = "digests"
    """Every block and every saved file of the point was read back and matched its digest."""
    LVM = "lvm"
    """The volume groups on the disks are complete and agree with themselves."""
    FILE_SYSTEMS = "file-systems"
    """The partition tables and the heads of the file systems can be read."""
    MALWARE = "malware"
    """No malware was found in the files that were scanned."""
    TARGET = "target"
    """The disks of a restored VM were read back and held the bytes of the point."""
    BOOT = "boot"
    """The point started in QEMU."""
    RESTORE = "restore"
    """The VM was restored and started on vSphere, and its probes succeeded."""


ABOUT_CONTENT = frozenset({ProofKind.LVM, ProofKind.FILE_SYSTEMS, ProofKind.MALWARE, ProofKind.BOOT, ProofKind.RESTORE})
"""Kinds that tell something about the content of the disks, and so hold for a copy of the point, too. The other kinds
tell something about stored bytes."""


class ProofResult(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """The check could not tell, e.g. because a screen shows nothing that is known. It counts as no proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointProof:
    """The outcome of one check of a restore point."""

    kind: ProofKind
    result: ProofResult
    at: datetime
    """When the check ended, by the clock of its machine. It is converted to UTC."""
    run: str = ""
    """The run that did the check, e.g. the run key of a backup; empty: a command did."""
    by: str = ""
    """The person or the DAG that asked for the check."""
    text: str = ""
    """The outcome in one sentence."""
    details: dict[str, Any] = field(default_factory=dict)
    """Facts that depend on the kind, as dicts, lists, texts and numbers. Keep it small: all proofs of a point are read
    to show it."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 (hex) of each small file that is kept with the proof, by name, e.g. ``screen.png``."""
    point: str = ""
    """Ref of the point. The repository fills it in, and the next two fields."""
    id: str = ""
    """Name of the proof among those of its point."""
    series: str = ""
    """A word for proofs of one kind that do not stand for one another, e.g. scans by two scanners. Of each series, kind
    and result the newest few stay; empty: the kind has only one."""
    repository: str = ""
    """Id of the repository in which the point was checked. A copy of the proof elsewhere keeps it."""
    scan: ScanFacts | None = None
    """For the kind ``malware``: the facts by which the point is judged. Unlike details they are never left out.
    ``None``: an earlier program kept them in the details."""

    def __post_init__(self) -> None:
        """Convert the time to UTC."""
        if self.at.tzinfo is None:
            raise ValueError("the time of a proof must carry a time zone")
        object.__setattr__(self, "at", self.at.astimezone(UTC))

    @property
    def passed(self) -> bool:
        """Whether the check found the point good."""
        return self.result is ProofResult.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class VmProof:
    """The last proof of one kind that passed for any point of a VM. It outlives the point."""

    vm_key: str
    vm_name: str
    point: str
    """Ref of the point that was proved good."""
    taken_at: datetime
    """The time that the point shows."""
    at: datetime
    """The time of the proof."""
    run: str
    drill: bool = False
    """Whether a drill proved it, and not a recovery. It means something for the kind ``restore`` only."""
    probes: tuple[str, ...] = ()
    """For the kind ``restore``: the probes that succeeded, in words. Older programs also noted VMs that stayed off,
    without any."""
    kind: ProofKind = ProofKind.RESTORE

    @property
    def counts(self) -> bool:
        """Whether this proves anything. A VM that was restored and never started does not."""
        return self.kind is not ProofKind.RESTORE or bool(self.probes)
