"""Keeps the journal of a recovery in the repository, so that a run that died goes on with everything that is not done.

recoveries/runs/<run>/order     the plan, the VMs and their points, and when the run began; written once
recoveries/runs/<run>/vm-<n>    the outcome of the VM with that number, rewritten as it goes on
recoveries/runs/<run>/plan-<n>  the plan of the VM's restore that was begun last
recoveries/runs/<run>/screen-<n> the picture of the VM's console when its probes had ended (PNG)
recoveries/runs/<run>/report    the report, once the run has ended
recoveries/proofs/<vm>          when the VM was last found healthy after a restore
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_json
from vmkeep.model.proofs import VmProof
from vmkeep.recovery import ChosenVm, RecoveryReport, VmOutcome
from vmkeep.repository import Repository

T = TypeVar("T")
LEASE = "recovery"
"""Name of the lease that a run holds from before its order to its report, and a clean-up of a drill while it works."""


def area_of(run: str) -> str:
    """Return the name of the run area that has the lease of a recovery."""
    return f"recovery-{run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOrder:
    """Everything that is decided when a run begins. A run that goes on has the same plan and the same points."""

    run: str
    plan: str
    """Text of the plan file."""
    path: str
    drill: bool
    began: datetime
    lost_at: datetime
    """The time of the disaster, from which the age of the data counts."""
    not_after: datetime | None = None
    """No younger point was chosen."""
    vcenter: str | None
    """UUID of the vCenter that the VMs are restored to."""
    server: str
    """Address of that vCenter, for people to read."""
    vms: tuple[ChosenVm, ...]
    notes: tuple[str, ...] = ()


class Journal:
    """The journal of one run."""

    def __init__(self, repository: Repository, run: str) -> None:
        self._notes = repository.recoveries
        self._run = run

    def begin(self, order: RecoveryOrder) -> RecoveryOrder:
        """Record the order of the run, unless it has one. Return the order that counts.

        A report of the run is removed, because it tells nothing of what is done from here on.
        """
        self._notes.discard(self._run, "report")
        return _parsed(RecoveryOrder, self._notes.begin(self._run, to_json(order)), f"the order of run {self._run}")

    def order(self) -> RecoveryOrder | None:
        """Return the order of the run; ``None``: there is no such run."""
        return self._load(RecoveryOrder, "order")

    def record(self, number: int, outcome: VmOutcome) -> None:
        """Record the outcome of a VM so far."""
        self._notes.store(self._run, f"vm-{number}", to_json(outcome))

    def outcome(self, number: int) -> VmOutcome | None:
        """Return the outcome of a VM so far; ``None``: nothing has begun."""
        return self._load(VmOutcome, f"vm-{number}")

    def record_plan(self, number: int, plan: RestorePlan) -> None:
        """Record the plan of a restore, before it is carried out."""
        self._notes.store(self._run, f"plan-{number}", to_json(plan))

    def plan(self, number: int) -> RestorePlan | None:
        """Return the plan of the restore that was begun last."""
        return self._load(RestorePlan, f"plan-{number}")

    def record_picture(self, number: int, data: bytes) -> str:
        """Record the picture of a VM's console. Return the name by which it is found again."""
        name = f"screen-{number}"
        self._notes.store(self._run, name, data)
        return name

    def picture(self, name: str) -> bytes:
        """Return the picture of a console.

        :raises NotFoundError: there is none of that name.
        :raises CorruptError: it is damaged.
        """
        return self._notes.load(self._run, name)

    def finish(self, report: RecoveryReport) -> None:
        """Record the report."""
        self._notes.store(self._run, "report", to_json(report))

    def report(self) -> RecoveryReport | None:
        """Return the report; ``None``: the run has not ended."""
        return self._load(RecoveryReport, "report")

    def prove(self, proof: VmProof) -> None:
        """Record that a VM was restored and found healthy."""
        self._notes.store_proof(proof)

    def _load(self, kind: type[T], name: str) -> T | None:
        try:
            return _parsed(kind, self._notes.load(self._run, name), f"'{name}' of run {self._run}")
        except NotFoundError:
            return None


def _parsed(kind: type[T], text: bytes, what: str) -> T:
    try:
        return from_json(kind, text)
    except ValueError as error:
        raise CorruptError(f"{what} cannot be read in the repository: {error}") from error
