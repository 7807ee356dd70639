"""Deleting, merging, repairing and locking, while backups and restores go on.

Seven verbs, each either a plan and its execution or one call: prune, delete points, merge, repair, heal, extend locks,
bring back.

*Prune* forgets restore points by a rule and marks every block that a remaining point reaches (``roots``,
``reachability``). It plans which packs to delete or rewrite, and sweeps them in stages that a running backup can see
and stop (``packsweep``, ``index_removal``). *Deleting points* that a person names uses the same way of forgetting as a
prune (``deletion``, ``forget``). *Merge* joins small index segments (``merge``; ``gathered_merge`` at the end of a
run). *Repair* rebuilds an index from the packs, and tells which points lost data. *Heal* fetches lost blocks from
another repository (``donors``). *Locks* extends object locks before they end.

A prune also removes what dead processes left and records that no process needs any more (``tidy``), and puts missing
notes of sealed points (``noting``). Some space is kept free for those who delete, because they have to write before
(``reserve``). ``facts`` gives retention its values, and ``storetime`` the age of blobs by the store's own clock.

Names are loaded on first use, because the end of each backup needs one of these verbs alone, and commands another one.

Safety rests on notes and stages, not on clocks. ``margins`` names each waiting time and the race that it makes rare.
"""

from typing import TYPE_CHECKING

from vmkeep.doors import loaded_on_use

if TYPE_CHECKING:
    from vmkeep.maintenance.deletion import DeletionPlan, DeletionReport, delete_points, plan_deletion
    from vmkeep.maintenance.facts import point_facts
    from vmkeep.maintenance.gathered_merge import merge_gathered
    from vmkeep.maintenance.healing import heal
    from vmkeep.maintenance.locks import Hidden, LockReport, bring_back, extend_locks, find_hidden, needed_packs
    from vmkeep.maintenance.margins import Margins
    from vmkeep.maintenance.merge import MergePlan, MergeReport, execute_merge, plan_merge
    from vmkeep.maintenance.plan import PrunePlan, plan_prune
    from vmkeep.maintenance.prune import PruneReport, execute
    from vmkeep.maintenance.repair import PointsRepair, repair_index, repair_points
    from vmkeep.maintenance.storetime import time_for_rules

_HOMES = {
    "DeletionPlan": "deletion",
    "DeletionReport": "deletion",
    "Hidden": "locks",
    "LockReport": "locks",
    "Margins": "margins",
    "MergePlan": "merge",
    "MergeReport": "merge",
    "PointsRepair": "repair",
    "PrunePlan": "plan",
    "PruneReport": "prune",
    "bring_back": "locks",
    "delete_points": "deletion",
    "execute": "prune",
    "execute_merge": "merge",
    "extend_locks": "locks",
    "find_hidden": "locks",
    "heal": "healing",
    "merge_gathered": "gathered_merge",
    "needed_packs": "locks",
    "plan_deletion": "deletion",
    "plan_merge": "merge",
    "plan_prune": "plan",
    "point_facts": "facts",
    "repair_index": "repair",
    "repair_points": "repair",
    "time_for_rules": "storetime",
}

__all__ = [
    "DeletionPlan",
    "DeletionReport",
    "Hidden",
    "LockReport",
    "Margins",
    "MergePlan",
    "MergeReport",
    "PointsRepair",
    "PrunePlan",
    "PruneReport",
    "bring_back",
    "delete_points",
    "execute",
    "execute_merge",
    "extend_locks",
    "find_hidden",
    "heal",
    "merge_gathered",
    "needed_packs",
    "plan_deletion",
    "plan_merge",
    "plan_prune",
    "point_facts",
    "repair_index",
    "repair_points",
    "time_for_rules",
]

if not TYPE_CHECKING:  # or a name that is not at the door would be any to a type checker
    __getattr__ = loaded_on_use(__name__, _HOMES)
