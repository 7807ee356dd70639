"""Values that one operator leaves for the next, if the engine has no value for that."""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.flows.backup_values import Preflight, SnapshotTaken
from vmkeep.flows.restore_values import RestorePlan, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStill:
    """A VM, with the snapshot that this try took of it."""

    preflight: Preflight
    """The preflight, with the run key of the try that took the snapshot."""
    taken: SnapshotTaken


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The approval of one plan of a restore, and of no other."""

    plan: str
    """Id of the plan."""
    asked: bool
    """A person was asked; else the run's params approved the plan."""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTarget:
    """A restore's plan, and the VM that was made ready for it."""

    plan: RestorePlan
    target: Target
