"""Values of the checks of restore points: the levels of a verification, and the outcome of one check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import ProofKind, ProofResult


class Level(StrEnum):
    """How a restore point is verified."""

    WRITTEN = "written"
    """A sample of its blocks is read back."""
    ALL = "all"
    """Every block is read back."""
    FILE_SYSTEMS = "file-systems"
    """Partition tables, volume groups and the heads of file systems are looked at."""
    BOOT = "boot"
    """The point starts in QEMU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The outcome of one check, which becomes a proof."""

    kind: ProofKind
    result: ProofResult
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Small files that are kept with the proof."""
