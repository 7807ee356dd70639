"""The ledger of a restore, kept in the repository, so that no step is done twice or after the restore's end.

    runs/plan-<digest>/notes/plan     the plan was made; without it a plan is too old to be carried out
    runs/plan-<digest>/notes/target   the VM that was made ready for it: a plan is carried out once
    runs/<run>/notes/owner            who runs it
    runs/<run>/notes/outcome          how the run ended: ``handed over`` or ``cleaned up``, whichever came first
    runs/<run>/notes/told             what a person has to know of the hand-over, from before it
    runs/<run>/notes/finished         the result, once the VM was handed over and switched on as asked

Maintenance removes these notes a week later. By then the VM carries no mark of the run, and the plan's own note is
gone, so that nothing of the restore can be done any more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from vmkeep.errors import CorruptError, NotFoundError, StaleError
from vmkeep.flows.values import Restored, RestorePlan, Target
from vmkeep.model.job import from_json, to_json
from vmkeep.repository import Repository

AGAIN = "start a new restore"
T = TypeVar("T")


class Outcome(StrEnum):
    """The end of a restore."""

    HANDED_OVER = "handed over"
    """Everything is written; the VM belongs to its user again."""
    CLEANED_UP = "cleaned up"
    """It was given up, and what it had made is removed."""


def plan_id(plan: RestorePlan) -> str:
    """Return the name of exactly this plan: whoever approves it, approves nothing else."""
    return hashlib.sha256(to_json(plan)).hexdigest()[:32]


class PlanLedger:
    """The record of one plan's execution."""

    def __init__(self, repository: Repository, plan: RestorePlan) -> None:
        self._area = repository.run(f"plan-{plan_id(plan)}")
        self._name = plan.target_name

    def note_plan(self) -> None:
        """Write down that the plan was made."""
        self._area.claim("plan", b"made")

    def require_noted(self) -> None:
        """Return if the plan may still be carried out.

        :raises StaleError: it is not this repository's, or so old that it was forgotten.
        """
        if "plan" not in self._area.names():
            raise StaleError(f"the plan to restore VM {self._name} is not known to this repository (any more); {AGAIN}")

    def target(self) -> Target | None:
        """Return the VM that was made ready for this plan already."""
        try:
            return _parsed(Target, self._area.load("target"), "the target of a restore")
        except NotFoundError:
            return None

    def claim(self, target: Target) -> Target:
        """Write down that a VM is ready; return the one that counts, which may be another try's."""
        return _parsed(Target, self._area.claim("target", to_json(target)), "the target of a restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The words that a hand-over leaves for its user."""

    warnings: tuple[str, ...]


class RunLedger:
    """The record of one run of a restore."""

    def __init__(self, repository: Repository, run: str) -> None:
        self._area = repository.run(run)
        self._run = run

    def begin(self, owner: str) -> None:
        """Write down who runs it, before anything is changed."""
        self._area.store("owner", owner.encode())

    def outcome(self) -> Outcome | None:
        """Return how it ended; ``None``: it has not."""
        try:
            return Outcome(self._area.load("outcome").decode())
        except NotFoundError:
            return None

    def claim(self, outcome: Outcome) -> Outcome:
        """Write down how it ends; return what counts, for somebody else may have ended it first."""
        return Outcome(self._area.claim("outcome", outcome.value.encode()).decode())

    def require_open(self) -> None:
        """Return if the run has not ended.

        :raises StaleError: it has.
        """
        match self.outcome():
            case Outcome.HANDED_OVER:
                raise StaleError(f"the restore of run {self._run} has finished, nothing was touched; {AGAIN}")
            case Outcome.CLEANED_UP:
                raise cleaned_up(self._run)

    def tell(self, warnings: tuple[str, ...]) -> None:
        """Write down what a person has to know, so that no later try of the last steps loses it."""
        self._area.store("told", to_json(_Told(warnings=warnings)))

    def told(self) -> tuple[str, ...]:
        """Return what a person has to know of the hand-over; nothing where an older program has done it."""
        try:
            return _parsed(_Told, self._area.load("told"), f"what run {self._run} has to say").warnings
        except NotFoundError:
            return ()

    def finish(self, restored: Restored) -> None:
        """Write down the result."""
        self._area.store("finished", to_json(restored))

    def finished(self) -> Restored | None:
        """Return the result of a restore that has finished."""
        try:
            return _parsed(Restored, self._area.load("finished"), f"the result of run {self._run}")
        except NotFoundError:
            return None


def cleaned_up(run: str) -> StaleError:
    """Return the error for whoever goes on with a run that was cleaned up."""
    return StaleError(f"the restore of run {run} was given up and cleaned up, nothing was touched; {AGAIN}")


def _parsed(kind: type[T], text: bytes, what: str) -> T:
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise CorruptError(f"{what} cannot be read in the repository: {error}") from error
