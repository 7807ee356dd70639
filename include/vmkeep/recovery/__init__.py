"""Recovery plans: files that say which VMs are restored after a disaster, in which order, and where to.

``files`` reads a plan, ``building`` finds every fault in it, and ``values`` is the plan as values. ``choosing`` takes
the restore points of a repository (``knownpoints``) and chooses the VMs of each group and their points: the vCenter is
gone, so a plan knows only what the points tell. ``reporting`` is the outcome of a run, and ``page`` draws it.

The rules: a point that is marked damaged or suspect, or cannot be read, is never chosen, nothing is left out without a
note, and a plan that does not fit is refused before anything is changed. Nothing here asks a server or the time.
"""

from vmkeep.recovery.building import ANSWERED, PLAN
from vmkeep.recovery.choosing import DAMAGED, UNREADABLE, ChosenVm, ChosenVms, allowed_points, choose, for_drill
from vmkeep.recovery.files import PlanFile, default_folder, parse_plan, plans_in, read_plan
from vmkeep.recovery.knownpoints import KnownPoint
from vmkeep.recovery.moments import parse_moment
from vmkeep.recovery.page import page
from vmkeep.recovery.reporting import ProbeResult, RecoveryReport, VmOutcome, VmState
from vmkeep.recovery.values import (
    DrillRules,
    GuestProbe,
    OnFailure,
    PointRule,
    PowerWish,
    Probes,
    RecoveryGroup,
    RecoveryPlan,
    TargetPlace,
)

__all__ = [
    "ANSWERED",
    "DAMAGED",
    "PLAN",
    "UNREADABLE",
    "ChosenVm",
    "ChosenVms",
    "DrillRules",
    "GuestProbe",
    "KnownPoint",
    "OnFailure",
    "PlanFile",
    "PointRule",
    "PowerWish",
    "ProbeResult",
    "Probes",
    "RecoveryGroup",
    "RecoveryPlan",
    "RecoveryReport",
    "TargetPlace",
    "VmOutcome",
    "VmState",
    "allowed_points",
    "choose",
    "default_folder",
    "for_drill",
    "page",
    "parse_moment",
    "parse_plan",
    "plans_in",
    "read_plan",
]
