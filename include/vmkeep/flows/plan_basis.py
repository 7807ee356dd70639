"""The basis on which the plan of a restore is made."""

from __future__ import annotations

from vmkeep.flows.liveness import HasEnded
from vmkeep.flows.restore_request import RestoreRequest
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBasis:
    """A request to restore a point, with the connections to read all that its plan depends on."""

    session: Session
    repository: Repository
    point: RestorePoint
    request: RestoreRequest
    has_ended: HasEnded
    """Tells whether the owner of another run has ended."""

    @property
    def powers_on(self) -> bool:
        """The VM is switched on at the end, unless it becomes a template.

        A machine that was imported stays off if nothing is asked, because nobody knows whether it ran.
        """
        if self.request.power_on is not None:
            return self.request.power_on
        return self.point.was_running and not self.point.vm.is_imported
