"""Keeps the ledger of a restore in the repository, so that no step is done twice or after the restore's end.

    runs/plan-<digest>/notes/plan     proves that the plan was made; without it a plan is too old to carry out
    runs/plan-<digest>/notes/target   the VM that was made ready for the plan, which is carried out only once
    runs/<run>/notes/owner            the owner of the run, in the owner's words
    runs/<run>/notes/disks            ``untouched``: no disk of the VM was written; ``begun``: some may be; ``written``
    runs/<run>/notes/switched-off     the VM that the run found running and switches off
    runs/<run>/notes/plan             the plan that the run carries out
    runs/<run>/notes/kept             says that the run failed and keeps its VM, so that anybody may go on with it
    runs/<run>/notes/outcome          the end of the run: ``handed over`` or ``cleaned up``, whichever came first
    runs/<run>/notes/told             the warnings for the VM's user, written before the hand-over
    runs/<run>/notes/finished         the result, written after the VM was handed over and switched on as asked

Maintenance removes these notes a week later. No step can be done after that, because the VM carries no mark of the
run, and the plan's own note is gone too.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from vmkeep.errors import CorruptError, NotFoundError, StaleError
from vmkeep.flows.restore_values import Restored, RestorePlan, Target
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_json
from vmkeep.repository import BEGUN, DISKS, WRITTEN, Repository, note_begun

AGAIN = "start a new restore"
_UNTOUCHED = b"untouched"
_SWITCHED_OFF = "switched-off"
T = TypeVar("T")


class Outcome(StrEnum):
    """The two ways in which a restore can end."""

    HANDED_OVER = "handed over"
    """Everything is written; the VM belongs to its user again."""
    CLEANED_UP = "cleaned up"
    """The restore was given up, and the VM that it had half made is removed."""


def plan_id(plan: RestorePlan) -> str:
    """Return the digest of exactly this plan, so that an approval holds for no other plan."""
    return hashlib.sha256(to_json(plan)).hexdigest()[:32]


def shown_id(plan: RestorePlan) -> str:
    """Return the digest of everything that a plan decides and a person is shown.

    It is the same for a plan that was only made to be shown and the one that is then carried out. Counts of free space
    and of changed blocks are left out, because they change by themselves, and so are the words of a scan.
    """
    request = replace(plan.request, run="", owner="", dry_run=False, scanned=None)
    decided = replace(plan, request=request, choices=(), needs=(), warnings=(), dead=None, way=None)
    return hashlib.sha256(to_json(decided)).hexdigest()[:32]


def require_as_seen(plan: RestorePlan, shown: str) -> None:
    """Return if a plan decides the same as the one that a person has seen before the run.

    :param shown: the digest of that one; empty: nobody has seen a plan.
    :raises StaleError: it decides something else. Nothing was touched.
    """
    if shown and shown_id(plan) != shown:
        raise StaleError(
            f"the plan to restore VM {plan.target_name} is not the one that was shown, because vSphere or the "
            "point has changed since; nothing was touched. Make a new plan and look at it"
        )


class PlanLedger:
    """The record of one plan's execution."""

    def __init__(self, repository: Repository, plan: RestorePlan) -> None:
        self._area = repository.run(f"plan-{plan_id(plan)}")
        self._name = plan.target_name

    def note_plan(self) -> None:
        """Record that the plan was made."""
        self._area.store_once("plan", b"made")

    def require_noted(self) -> None:
        """Return if the plan may still be carried out.

        :raises StaleError: the plan was made for another repository, or is so old that its note was removed.
        """
        if not self._area.has("plan"):
            raise StaleError(f"the plan to restore VM {self._name} is not known to this repository (any more); {AGAIN}")

    def target(self) -> Target | None:
        """Return the VM that was made ready for this plan; ``None``: no VM was."""
        try:
            return _parsed(Target, self._area.load("target"), "the target of a restore")
        except NotFoundError:
            return None

    def record_target(self, target: Target) -> Target:
        """Record that a VM is ready. Return the VM recorded first, which another try may have made ready."""
        return _parsed(Target, self._area.store_once("target", to_json(target)), "the target of a restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The warnings that a hand-over leaves for the VM's user."""

    warnings: tuple[str, ...]


class RunLedger:
    """The record of one run of a restore."""

    def __init__(self, repository: Repository, run: str) -> None:
        self._area = repository.run(run)
        self._run = run

    def begin(self, owner: str, plan: RestorePlan | None = None) -> None:
        """Record the owner of the run, and its plan if it can be gone on with, before anything is changed."""
        self._area.store("owner", owner.encode())
        if plan is not None:
            self._area.store("plan", to_json(plan))

    def note_untouched(self) -> None:
        """Record that no disk of the VM is written yet, before a snapshot is taken to undo the restore."""
        self._area.store(DISKS, _UNTOUCHED)

    def note_switched_off(self, moref: str) -> None:
        """Record, before it is done, that the run switches off a VM that is running, so that it is given back so."""
        self._area.store(_SWITCHED_OFF, moref.encode())

    def switched_off(self) -> str | None:
        """Return the VM that the run has found running and switched off; ``None``: none that is to be given back."""
        try:
            return self._area.load(_SWITCHED_OFF).decode()
        except (NotFoundError, CorruptError):
            return None

    def forget_switched_off(self) -> None:
        """Record that the VM is given back, or that another run gives it back."""
        self._area.discard(_SWITCHED_OFF)

    def note_begun(self) -> None:
        """Record that from now on the disks of the VM may be written, as each writer does before its first write."""
        note_begun(self._area)

    def wrote_nothing(self) -> bool:
        """Return whether it is certain that the run has written to no disk. Without any note it is not."""
        try:
            return self._area.load(DISKS) == _UNTOUCHED
        except NotFoundError:
            return self._area.has("plan")  # a run that notes its plan notes also its first write
        except CorruptError:
            return False

    def note_written(self) -> None:
        """Record that every disk is written, and that the VM has stayed off for that long."""
        self._area.store(DISKS, WRITTEN)

    def has_written(self) -> bool:
        """Return whether every disk is known to be written."""
        try:
            return self._area.load(DISKS) == WRITTEN
        except (NotFoundError, CorruptError):
            return False

    def may_have_written(self) -> bool:
        """Return whether the run has got so far that it may have written to a disk.

        So may a run whose notes cannot be read, or were removed by maintenance.
        """
        try:
            return self._area.load(DISKS) in (BEGUN, WRITTEN)
        except NotFoundError:
            return not self._area.has("owner")
        except CorruptError:
            return True

    def note_kept(self) -> None:
        """Record that whoever carried the run out has given it up, so that anybody may go on with it."""
        self._area.store("kept", b"kept")

    def owner_at_work(self) -> str:
        """Return the words of an owner who has not given the run up; empty: none named itself, or it gave up."""
        if self._area.has("kept") or not self._area.has("owner"):
            return ""
        return self._area.load("owner").decode()

    def plan(self) -> RestorePlan | None:
        """Return the plan that the run carries out; ``None``: no such run is known."""
        try:
            return _parsed(RestorePlan, self._area.load("plan"), f"the plan of run {self._run}")
        except NotFoundError:
            return None

    def outcome(self) -> Outcome | None:
        """Return the end of the run; ``None``: it has not ended."""
        try:
            return Outcome(self._area.load("outcome").decode())
        except NotFoundError:
            return None

    def record_outcome(self, outcome: Outcome) -> Outcome:
        """Record the end of the run. Return the end recorded first, which may be that of another process."""
        return Outcome(self._area.store_once("outcome", outcome.value.encode()).decode())

    def require_open(self) -> None:
        """Return if the run has not ended.

        :raises StaleError: the run was handed over or cleaned up.
        """
        match self.outcome():
            case Outcome.HANDED_OVER:
                raise StaleError(f"the restore of run {self._run} has finished, nothing was touched; {AGAIN}")
            case Outcome.CLEANED_UP:
                raise cleaned_up(self._run)

    def tell(self, warnings: tuple[str, ...]) -> None:
        """Record the warnings for the user, so that no later try of the last steps loses them."""
        self._area.store("told", to_json(_Told(warnings=warnings)))

    def told(self) -> tuple[str, ...]:
        """Return the recorded warnings; none where an older program has handed the VM over."""
        try:
            return _parsed(_Told, self._area.load("told"), f"the warnings of run {self._run}").warnings
        except NotFoundError:
            return ()

    def finish(self, restored: Restored) -> None:
        """Record the result."""
        self._area.store("finished", to_json(restored))

    def finished(self) -> Restored | None:
        """Return the result of the restore; ``None``: it has not finished."""
        try:
            return _parsed(Restored, self._area.load("finished"), f"the result of run {self._run}")
        except NotFoundError:
            return None


def cleaned_up(run: str) -> StaleError:
    """Return the error for a step that goes on with a run that was cleaned up."""
    return StaleError(f"the restore of run {run} was given up and cleaned up, nothing was touched; {AGAIN}")


def _parsed(kind: type[T], text: bytes, what: str) -> T:
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise CorruptError(f"{what} cannot be read in the repository: {error}") from error
