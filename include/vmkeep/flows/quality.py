"""Checks the data quality of a repository's points: lays out the evidence, asks the suite, and keeps the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from tempfile import TemporaryDirectory
from typing import Any, Final

from vmkeep.catalog import FEWEST, Catalog, PointOrigin, QualityCheck, SampledPoint, VmStanding, open_catalog
from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.flows.capacity import RetentionTerms, note_capacity
from vmkeep.flows.failed_checks import ListedProofs, bad_points
from vmkeep.flows.fleet_notes import note_fleet
from vmkeep.flows.quality_evidence import (
    Inventory,
    Proofs,
    ask_vcenters,
    standings_by_points,
    take_sample,
    terms_of,
    wishes_of,
)
from vmkeep.flows.recovery_overview import note_recoveries
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.job import from_json, to_json, to_plain
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep.quality import SUITE, QualityReport, ask, judge, page
from vmkeep.repository import Repository
from vmkeep.scratch import scratch_folder

__all__ = ["Inventory", "QualityReport", "check_quality", "document_of", "page", "past_reports"]

_IN_MEMORY: Final = ("sqlite://", "sqlite:///:memory:")
_OF_VCENTERS: Final = ("unprotected", "snapshot-age")
"""Expectations that only a vCenter can answer."""
_OF_VMS: Final = ("rpo", "proof-age", *_OF_VCENTERS)
"""Expectations of VMs, which miss those of a vCenter that did not answer, or of a policy that cannot be read."""
_COMPARED: Final = {
    "sudden-change": "change-rate",
    "change-rate": "change-rate",
    "deduplication": "stored-share",
    "duration": "duration",
    "throughput": "throughput",
}
"""Expectations that compare a VM with its own past, and the measure of each."""


@dataclass(slots=True, kw_only=True)
class _Evidence:
    """Everything that a report tells beside the judgements."""

    vms: int
    proofs: ListedProofs
    sampled: int = 0
    vcenters: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    """Hosts of the vCenters that gave no answer."""
    skipped: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    unlisted: list[Policy] = field(default_factory=list)
    """Policies of which no vCenter tells which VMs they take."""
    standings: list[VmStanding] = field(default_factory=list)
    """The VMs that are known."""


def check_quality(
    repository: Repository,
    policies: Sequence[Policy],
    inventories: Sequence[Inventory],
    *,
    catalog: str | None,
    gaps: Sequence[str] = (),
    retention: RetentionTerms | None = None,
) -> QualityReport:
    """Check the points of a repository against the suite, and keep the report in the catalog.

    :param policies: those whose points are in this repository.
    :param inventories: the vCenters that are asked for their VMs; none: the points tell which VMs there are.
    :param catalog: its SQLAlchemy URL; ``None`` or in memory: a catalog is made for this check alone.
    :param gaps: things that are already known not to be looked at, e.g. a policy with faults, as sentences.
    :param retention: for the notes about the points that go next; ``None``: the caller does not know it.
    :raises CatalogError: the catalog cannot be used.
    :raises MissingExtraError: Great Expectations is not installed.
    """
    began, at = time.monotonic(), now()
    with _kept_catalog(catalog) as (url, is_kept), open_catalog(url) as cache:
        refreshed = cache.refresh(repository)
        with cache.open_check(repository.id, at) as check:
            evidence = _lay_out(repository, cache, check, policies, inventories)
            evidence.gaps += gaps
            if is_kept:
                unasked, proofs = evidence.unasked, evidence.proofs
                note_fleet(cache, repository, evidence.standings, unasked=unasked, at=at, proofs=proofs)
                note_recoveries(cache, repository)
                note_capacity(cache, repository, retention, at=at)
            check.lay([SampledPoint(ref=line.partition(": ")[0], name=line.partition("/")[0], problem=line)
                       for line in refreshed.damaged])  # fmt: skip
            if not evidence.sampled and not refreshed.damaged:
                evidence.skipped["catalog-row"] = "there is no restore point"
            severities = {one.id: one.severity.value for one in SUITE if one.id not in evidence.skipped}
            answers = ask(cache.url, check.questions(severities)) if severities else ()
            if not is_kept:
                evidence.notes.append("no catalog is set, so that this report is not kept: set VMKEEP_CATALOG")
            report = QualityReport(
                check=check.id,
                repository=repository.id,
                location=repository.location,
                at=at,
                seconds=round(time.monotonic() - began, 3),
                vms=evidence.vms,
                points=sum(not is_host_key(ref.partition("/")[0]) for ref in repository.point_refs()),
                sampled=evidence.sampled,
                vcenters=tuple(evidence.vcenters),
                policies=tuple(policy.name for policy in policies),
                judgements=judge(
                    answers,
                    skipped=evidence.skipped,
                    gaps=_gaps(evidence),
                    namesakes=_namesakes(evidence.standings),
                ),
                notes=tuple(evidence.notes),
                gaps=tuple(evidence.gaps),
            )
            check.keep(to_json(report).decode())
    return report


def past_reports(repository: Repository, *, catalog: str, most: int) -> list[QualityReport]:
    """Return the newest reports on a repository's points, the newest first. One that cannot be read is left out."""
    with open_catalog(catalog) as cache:
        texts = cache.kept_reports(repository.id, most=most)
    found = []
    for text in texts:
        try:
            found.append(from_json(QualityReport, text))
        except ValueError:  # another version wrote it
            continue
    return found


def document_of(report: QualityReport) -> dict[str, Any]:
    """Return a report as plain data, with the result of each expectation."""
    plain: dict[str, Any] = to_plain(report)
    plain["result"] = report.result
    for one, judgement in zip(plain["judgements"], report.judgements, strict=True):
        one["result"] = judgement.result
    return plain


@contextmanager
def _kept_catalog(url: str | None) -> Iterator[tuple[str, bool]]:
    """Yield the URL of a catalog that a second connection sees, too, and whether it stays."""
    if url is not None and url not in _IN_MEMORY:
        yield url, True
        return
    with TemporaryDirectory(prefix="vmkeep-quality-", dir=scratch_folder()) as folder:
        yield f"sqlite:///{folder}/catalog.db", False


def _lay_out(
    repository: Repository,
    cache: Catalog,
    check: QualityCheck,
    policies: Sequence[Policy],
    inventories: Sequence[Inventory],
) -> _Evidence:
    """Lay out all evidence beside the points."""
    bad = (ref for ref, marks in repository.marks.all().items() if not marks.good)
    evidence = _Evidence(vms=check.lay_points(bad), proofs=ListedProofs(repository))
    check.lay([terms_of(policy) for policy in policies])
    check.lay(list(wishes_of(policies)))
    good = _good_points(repository, cache, check, evidence.proofs)
    _lay_vms(check, good, policies, inventories, repository.proofs.latest(), evidence)
    sample = take_sample(repository, check, lambda: cache.refresh(repository))
    check.lay(sample.points)
    check.lay(sample.disks)
    evidence.sampled = len(sample.points)
    evidence.skipped |= _unanswerable(check, policies, evidence.standings)
    if not sample.disks:
        evidence.skipped["map-root"] = "no disk of a good restore point could be sampled"
    return evidence


def _good_points(
    repository: Repository, cache: Catalog, check: QualityCheck, proofs: ListedProofs
) -> Sequence[PointOrigin]:
    """Return the newest good point of each VM, the oldest first; or all good ones, if one of the newest failed a check.

    A point that failed a check stays a measure for others, because a sudden change and a failed check often come
    together. It only keeps no VM from being late.
    """
    newest = check.origins()
    failed = proofs.failed()
    if not any(point.ref in failed for point in newest):
        return newest
    bad = bad_points(repository, failed)
    return [origin for origin in cache.origins(repository.id) if origin.ref not in bad]


def _lay_vms(
    check: QualityCheck,
    good: Sequence[PointOrigin],
    policies: Sequence[Policy],
    inventories: Sequence[Inventory],
    proofs: Proofs,
    evidence: _Evidence,
) -> None:
    told: set[str] = set()
    for inventory, found in ask_vcenters(inventories, good, proofs):
        host = inventory.vcenter.host
        if isinstance(found, VmKeepError):
            evidence.unasked.append(host)
            evidence.gaps.append(f"vCenter {host} cannot be asked for its VMs: {found}")
            continue
        evidence.standings += found
        check.lay(found)
        evidence.vcenters.append(host)
        told |= {policy.name for policy in inventory.policies}
    rest = [policy for policy in policies if policy.name not in told]
    by_points = list(standings_by_points(check, good, rest, proofs))
    check.lay(by_points)
    evidence.standings += by_points
    evidence.unlisted = rest
    if rest and policies:
        evidence.notes.append(
            f"for {counted(len(rest), 'policy', 'policies')} no vCenter tells which VMs there are: those count whose "
            "newest point names the policy"
        )


def _gaps(evidence: _Evidence) -> dict[str, str]:
    """Return the reasons why findings about VMs may be missing, by the expectation.

    A VM that never got a point is known to its vCenter only, so that nothing is met for a policy without one.
    """
    gaps = dict.fromkeys(_OF_VMS, "; ".join(evidence.gaps))
    terms = [terms_of(policy) for policy in evidence.unlisted]
    for one, demanding in (
        ("rpo", [each.name for each in terms if each.max_age is not None]),
        ("proof-age", [each.name for each in terms if each.proved_within is not None]),
    ):
        if demanding:
            why = f"no vCenter tells which VMs without a restore point belong to {', '.join(demanding)}"
            gaps[one] = "; ".join(filter(None, [gaps[one], why]))
    return gaps


def _namesakes(standings: Iterable[VmStanding]) -> frozenset[str]:
    """Return the names that several VMs have."""
    times = Counter(vm.name for vm in standings)
    return frozenset(name for name, number in times.items() if number > 1)


def _unanswerable(check: QualityCheck, policies: Sequence[Policy], standings: Sequence[VmStanding]) -> dict[str, str]:
    """Return the expectations that nothing can break, with the reasons. Silence about them would look like success."""
    terms = {policy.name: terms_of(policy) for policy in policies}
    newest = [policy for _, _, policy, _, _ in check.newest()]
    known = [terms[vm.policy] for vm in standings if vm.policy in terms]
    pointed = [terms[policy] for policy in newest if policy in terms]
    skipped = {}
    if all(each.max_age is None for each in known):
        skipped["rpo"] = "no VM of a policy with max_age is known"
    if all(each.proved_within is None for each in known):
        skipped["proof-age"] = "no VM is known whose policy demands a proof"
    if not any(each.forbids_skipped for each in pointed):
        skipped["skipped-disk"] = "no point was made for a policy that forbids skipped disks"
    if not any(newest):
        skipped["change-tracking"] = "no point was made for a policy"
    if not newest:
        skipped["disk-size"] = "there is no good restore point"
    if not any(vm.asked for vm in standings):
        skipped |= dict.fromkeys(_OF_VCENTERS, "no vCenter told of a VM")
    measured = check.measured()
    for one, measure in _COMPARED.items():
        if not measured.get(measure):
            skipped[one] = f"no VM has {FEWEST} earlier points that tell it"
    return skipped
