"""Values that one operator leaves for the next, where the engine has no value for that."""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.flows.values import Preflight, RestorePlan, SnapshotTaken, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStill:
    """A VM, held still by a snapshot of this try."""

    preflight: Preflight
    """It has the run key of the try that took the snapshot."""
    taken: SnapshotTaken


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The yes to one plan of a restore, and to no other."""

    plan: str
    """The plan's id."""
    asked: bool
    """A person was asked; otherwise the run's params said yes."""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTarget:
    """A restore's plan, and the VM that was made ready for it."""

    plan: RestorePlan
    target: Target
