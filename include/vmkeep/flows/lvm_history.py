"""Finds what is known of the volume groups of the restore point before another one.

A check keeps the groups with its proof. If the point before was never checked, it is looked at, which costs kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from vmkeep.errors import CorruptError
from vmkeep.flows.lvm_looks import Look, Looks
from vmkeep.flows.point_choice import points_in_order
from vmkeep.guest.lvm import Finding, FindingCode, GroupRecord, Severity
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository import Repository

_LOOK_BACK: Final = 64
"""Number of points to pass over in search of the VM's own last one, because a history may have points of copies."""
FailureKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The facts that are known of the point before."""

    ref: str
    groups: tuple[GroupRecord, ...]
    failures: frozenset[FailureKey]
    """Code, volume group and physical volume of each failure that was found in it."""

    @classmethod
    def of(cls, look: Look) -> Before:
        """Return what a look has found."""
        return cls(ref=look.point.ref, groups=look.records, failures=failure_keys(look.findings))


def failure_keys(findings: Iterable[Finding]) -> frozenset[FailureKey]:
    """Return what tells failures apart in two points."""
    return frozenset((str(one.code), one.vg_uuid, one.pv) for one in findings if one.severity is Severity.FAILURE)


def details_of(look: Look) -> dict[str, Any]:
    """Return the facts that a proof keeps for later comparisons."""
    return {"groups": to_plain(look.records), "findings": to_plain(look.findings)}


def before(repository: Repository, looks: Looks, point: RestorePoint) -> tuple[Before | None, str]:
    """Return what is known of the VM's point before a point, and why nothing is; empty: there is none."""
    for earlier in _earlier(repository, point):
        if isinstance(earlier, str):
            return None, earlier
        for proof in repository.proofs.of(earlier.ref):
            if (known := _kept(proof)) is not None:
                return known, ""
        try:
            look = looks.at(earlier, ())
        except CorruptError as error:
            return None, f"not compared with the point before, because that cannot be read: {error}"
        if look.unread:
            return None, f"not compared with the point before, {earlier.ref}: {look.unread[0]}"
        return Before.of(look), ""
    return None, ""


def same_vm(one: RestorePoint, other: RestorePoint) -> bool:
    """Return whether two points of one key are of one VM, and not of a copy that kept the UUIDs."""
    return (one.vm.vcenter, one.vm.moref) == (other.vm.vcenter, other.vm.moref)


def _earlier(repository: Repository, point: RestorePoint) -> Iterator[RestorePoint | str]:
    """Yield the VM's points before a point, the newest first; instead of one that cannot be read, a sentence."""
    for earlier in islice(points_in_order(repository, point.vm.key, before=point), _LOOK_BACK):
        if earlier.point is None:
            yield f"not compared with the point before, because that cannot be read: {earlier.problem}"
            return
        if same_vm(earlier.point, point):
            yield earlier.point


def _kept(proof: PointProof) -> Before | None:
    """Return what a proof tells of the volume groups; ``None``: it is of another kind, or does not tell all."""
    if proof.kind is not ProofKind.LVM:
        return None
    try:
        groups = from_plain(tuple[GroupRecord, ...], proof.details["groups"])
        findings = from_plain(tuple[Finding, ...], proof.details["findings"])
    except (KeyError, ValueError):
        return None
    if proof.result is ProofResult.UNDECIDED and any(found.code is FindingCode.UNREADABLE for found in findings):
        return None
    if any(found.vg and not found.vg_uuid for found in findings):
        return None  # an earlier program kept the group's name only, which another group may have, too
    return Before(ref=proof.point, groups=groups, failures=failure_keys(findings))
