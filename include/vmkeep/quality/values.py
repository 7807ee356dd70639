"""Expectations of the catalog, and the report of a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass

Row = Mapping[str, Any]
"""A row of an answer, with the columns that :mod:`vmkeep.catalog.questions` lists."""


class Severity(StrEnum):
    """The weight of a finding. The order counts: the database sorts by these words."""

    FAILURE = "failure"
    """The check fails."""
    WARNING = "warning"
    """Somebody should look, and the check does not fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A statement that should be true of the catalog."""

    id: str
    """Scripts and policies rely on it."""
    title: str
    """The statement, as a sentence."""
    meaning: str
    """The danger if it is not true."""
    remedy: str
    """The first thing to do then."""
    severity: Severity
    """The severity for VMs whose policy says nothing."""
    words: Callable[[Row], str]
    """Says what is the matter with a row, without the VM's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A VM or point of which an expectation is not true."""

    severity: Severity
    vm: str
    policy: str
    """Empty: no policy is concerned."""
    point: str | None
    disk: str | None
    text: str
    vm_id: str = ""
    """Distinguishes the VM from every other one: ``VCENTER/MOREF``, or the key of its restore points."""
    is_namesake: bool = False
    """Whether another VM has its name."""

    @property
    def shown(self) -> str:
        """The VM as people tell it from others."""
        return f"{self.vm} ({self.vm_id})" if self.is_namesake else self.vm

    @property
    def line(self) -> str:
        """The finding in words, with the VM and the disk."""
        return f"{self.shown}{f', {self.disk}' if self.disk else ''}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The outcome of one expectation."""

    id: str
    title: str
    meaning: str
    remedy: str
    found: int
    """Number of all findings."""
    findings: tuple[Finding, ...] = ()
    """The findings, failures first; of very many only the first."""
    skipped: str = ""
    """The reason why the expectation was not looked at; empty: it was."""
    gap: str = ""
    """The reason why findings may be missing; empty: all are known."""

    @property
    def failed(self) -> bool:
        """Whether a finding is a failure."""
        return any(finding.severity is Severity.FAILURE for finding in self.findings)

    @property
    def result(self) -> str:
        """The outcome in one word."""
        if self.skipped:
            return "not looked at"
        if self.failed or not self.gap:
            return "failed" if self.failed else "warned" if self.found else "met"
        return "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The report of one check."""

    check: str
    repository: str
    """Id of the repository."""
    location: str
    at: datetime
    seconds: float
    vms: int
    """Number of VMs with a good point."""
    points: int
    """Number of all points of VMs. Configurations of hosts are none."""
    sampled: int
    """Number of manifests that were read again and compared."""
    vcenters: tuple[str, ...]
    """The vCenters that were asked for their VMs."""
    policies: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...] = ()
    """Things that limit the check, e.g. that no vCenter was named."""
    gaps: tuple[str, ...] = ()
    """Things that should have been looked at and could not be, e.g. a vCenter that did not answer."""

    @property
    def failed(self) -> tuple[Judgement, ...]:
        """The expectations with a finding that is a failure."""
        return tuple(one for one in self.judgements if one.failed)

    @property
    def warned(self) -> tuple[Judgement, ...]:
        """The expectations whose findings are all warnings."""
        return tuple(one for one in self.judgements if one.found and not one.failed)

    @property
    def result(self) -> str:
        """The outcome in one word."""
        if self.failed or self.gaps:
            return "failed" if self.failed else "undecided"
        if all(one.skipped for one in self.judgements):
            return "not looked at"
        if any(one.result == "undecided" for one in self.judgements):
            return "undecided"
        return "warned" if self.warned else "met"

    @property
    def is_good(self) -> bool:
        """Whether nobody has to act: no finding is a failure, and everything could be looked at."""
        return not self.failed and not self.gaps
