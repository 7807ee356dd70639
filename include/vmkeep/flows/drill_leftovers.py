"""Reports the VMs that drills have left, because a drill that died, or was told to keep its VMs, leaves them running.

None is removed by a sweep, because somebody may look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vmkeep.flows.recovery_journal import area_of
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.vsphere.drills import parse_drill_mark


def report_drills(ground: Ground) -> Iterator[Finding]:
    """Yield each VM that carries the mark of a drill. One that a restore is making is a finding of another kind."""
    at_work: dict[str, bool] = {}
    for one in ground.vms:
        if not one.drill or one.claimed is not None:
            continue
        repository, run = parse_drill_mark(one.drill)
        left = Finding(kind=Kind.DRILL, state=State.LEFT, vm=one.vm, run=run)
        if repository != ground.repository.id:
            yield replace(left, detail="only its repository knows that drill")
            continue
        if run not in at_work:
            at_work[run] = ground.repository.run(area_of(run)).has_live_lease()
        if at_work[run]:
            yield Finding(kind=Kind.DRILL, state=State.IN_USE, vm=one.vm, run=run)
        else:
            yield replace(left, detail=f"the drill is over: 'vmkeep dr clean {run}' removes it, if nobody looks at it")
