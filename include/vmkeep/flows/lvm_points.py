"""Checks the LVM of one restore point after the other: looks, confirms, marks, and keeps the outcome as a proof."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows.lvm_history import Before, before, details_of, failure_keys
from vmkeep.flows.lvm_looks import Look, Looks, explained
from vmkeep.flows.lvm_marks import mark
from vmkeep.flows.lvm_values import LvmCheck, LvmRequest
from vmkeep.guest.lvm import Severity
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.wording import counted
from vmkeep.repository import Repository

_TOLD = 5
"""Doubts that the text of a proof tells; the point's check has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLvm:
    """A point whose LVM was checked."""

    check: LvmCheck
    look: Look
    unread: str
    """The reason why it counts as one that could not be checked; empty: there is none."""
    unkept: VmKeepError | None
    """Why the outcome is not kept with the point; ``None``: it is, or nobody asked for that."""


class PointLvm:
    """Checks the LVM of points of one repository. Thread-safe."""

    def __init__(self, repository: Repository, looks: Looks, request: LvmRequest, *, by: str, run: str) -> None:
        """Check as a request says.

        :param by: the person or DAG that asks, for the proofs.
        :param run: the run that asks; empty: none does.
        """
        self._repository = repository
        self._looks = looks
        self._request = request
        self._by = by
        self._run = run

    def check(self, point: RestorePoint, known: Before | None) -> CheckedLvm:
        """Check one point, and mark it and keep the outcome where that is asked for.

        :param known: the outcome of the VM's point before; ``None``: it is looked for.
        :raises NotFoundError: the point is gone.
        :raises CorruptError: it cannot be read, or two looks have found different things.
        """
        told: list[str] = []
        if known is None:
            known, why = before(self._repository, self._looks, point)
            told += [why] if why else []
        look = self._looks.at(point, known.groups if known is not None else ())
        marked: tuple[str, ...] = ()
        if look.failures:
            look = self._confirmed(look, known)
            if self._request.mark:
                marked, why = self._mark(look, known)
                told += [why] if why else []
        made = LvmCheck(
            point=point.ref,
            vm=point.vm.name,
            key=point.vm.key,
            disks=len(point.images),
            vgs=look.groups,
            findings=look.findings,
            unopened=tuple(self._looks.unopened(look)),
            marked=marked,
            told=tuple(told),
        )
        unkept = self._keep(point.ref, self._proof(made, look)) if self._request.record else None
        return CheckedLvm(check=made, look=look, unread="; ".join(look.unread), unkept=unkept)

    def _keep(self, ref: str, proof: PointProof) -> VmKeepError | None:
        """Keep an outcome; return why it is not kept.

        A store that is full or read-only must not hide what this check and the others have found.

        :raises NotFoundError: the point is gone.
        :raises CorruptError: its manifest is damaged.
        """
        try:
            self._repository.proofs.add(ref, proof)
        except (CorruptError, NotFoundError):
            raise
        except VmKeepError as error:
            return error
        return None

    def _mark(self, look: Look, known: Before | None) -> tuple[tuple[str, ...], str]:
        """Mark a point as :func:`mark` does. An error is a reason: it must not hide what the check has found."""
        try:
            return mark(self._repository, look, known)
        except VmKeepError as error:
            return (), f"it could not be marked as suspect: {error}"

    def _confirmed(self, first: Look, known: Before | None) -> Look:
        """Look once more at a point that seems to contradict itself. Add to each failure what that has confirmed."""
        look = self._looks.again(first, known.groups if known is not None else ())
        clause = _of_the_point_before(look, known)
        findings = (
            explained(look, found, before=clause) if found.severity is Severity.FAILURE else found
            for found in look.findings
        )
        return replace(look, findings=tuple(findings))

    def _proof(self, made: LvmCheck, look: Look) -> PointProof:
        result, text = _judged(made, look)
        return PointProof(
            kind=ProofKind.LVM, result=result, at=now(), run=self._run, by=self._by, text=text, details=details_of(look)
        )


def _judged(made: LvmCheck, look: Look) -> tuple[ProofResult, str]:
    """Return the outcome of a check. Only volume groups that were seen are good, and only if all places were seen."""
    if made.failures:
        return ProofResult.FAILED, f"LVM contradicts itself: {'; '.join(found.text for found in made.failures)}"
    if look.unread:
        return ProofResult.UNDECIDED, f"LVM could not be read: {look.unread[0]}"
    if not made.disks:
        return ProofResult.UNDECIDED, "the point holds no disk, so that nothing could be looked at"
    seen = f"{counted(len(made.vgs), 'volume group')} on {counted(made.disks, 'disk')}"
    if doubts := [*look.doubts, *(f"LVM may lie unseen in {place}" for place in made.unopened)]:
        more = f"; and {counted(len(doubts) - _TOLD, 'more thing')}" if len(doubts) > _TOLD else ""
        good = f"{seen}, consistent, but " if made.vgs else ""
        return ProofResult.UNDECIDED, f"{good}{'; '.join(doubts[:_TOLD])}{more}"
    if not made.vgs:
        return ProofResult.UNDECIDED, f"it has no LVM: no volume group is on its {counted(made.disks, 'disk')}"
    absent = f"; not in the backup: {counted(look.absent, 'physical volume')}" if look.absent else ""
    return ProofResult.PASSED, f"{seen}, all consistent{absent}"


def _of_the_point_before(look: Look, known: Before | None) -> str:
    """Return a clause about the point before; empty: nothing is known of it."""
    if known is None:
        return ""
    if failure_keys(look.failures) <= known.failures:
        return f"the point before, {known.ref}, has it, too"
    return f"the point before, {known.ref}, has no such failure"
