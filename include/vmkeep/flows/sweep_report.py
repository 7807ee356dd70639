"""The findings of a sweep: leftovers of runs in vSphere, and other things there that somebody has to look after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import age


class Kind(StrEnum):
    """The kind of a finding."""

    SUSPENDED = "suspended VM"
    FROZEN = "frozen guest"
    ATTACHED = "disk attached to the proxy"
    SNAPSHOT = "snapshot"
    PERMITS = "permits"
    HOOK = "array hook to end"
    RESTORE = "VM of a restore"
    HELD = "VM that cannot be moved"
    CONSOLIDATION = "disks to consolidate"
    DRILL = "VM of a drill"
    UNDO = "snapshot to undo a restore"
    FOREIGN = "snapshot of somebody else"
    HIDDEN = "VM that vSphere does not show"


class State(StrEnum):
    """The state in which a sweep leaves a finding."""

    REPAIRED = "repaired"
    DEAD = "to be repaired"
    """A sweep that changes nothing has found it; the next one repairs it."""
    UNDER_WAY = "under way"
    """vSphere is still at work on the repair. The next sweep looks again."""
    IN_USE = "in use"
    """A run needs it, or may need it."""
    LEFT = "left alone"
    """It is not surely ours, so that a person has to decide."""
    FAILED = "failed"
    """The repair failed. The next sweep tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding."""

    kind: Kind
    state: State
    vm: VmRef | None
    """``None``: the finding is of a run, and not of a VM."""
    run: str = ""
    """The run that left it, or uses it; empty: none, or it is not known."""
    age_seconds: float | None = None
    detail: str = ""
    """The rest in words: the reason why it is left alone, or why the repair failed."""

    @property
    def line(self) -> str:
        """The finding as one line of text."""
        of_run = f" of run {self.run}" if self.run else ""
        old = f", {age(self.age_seconds)} old" if self.age_seconds is not None else ""
        more = f": {self.detail}" if self.detail else ""
        subject = f"VM {self.vm}: " if self.vm is not None else ""
        return f"{subject}{self.kind}{of_run}{old}: {self.state}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The outcome of one sweep of a vCenter."""

    findings: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """The number of findings, by kind and state. Kinds and states without findings are left out."""
        numbers = Counter((finding.kind, finding.state) for finding in self.findings)
        counts: dict[str, dict[str, int]] = {}
        for (kind, state), number in numbers.items():
            counts.setdefault(kind.value, {})[state.value] = number
        return counts

    def of(self, *states: State) -> tuple[Finding, ...]:
        """Return the findings in some states."""
        return tuple(finding for finding in self.findings if finding.state in states)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by how much they ask of a person: failures first, things in use last."""
    order = [State.FAILED, State.LEFT, State.DEAD, State.UNDER_WAY, State.REPAIRED, State.IN_USE]

    def urgency(found: Finding) -> tuple[int, str, str]:
        return order.index(found.state), found.kind, found.vm.name if found.vm is not None else ""

    return tuple(sorted(findings, key=urgency))
