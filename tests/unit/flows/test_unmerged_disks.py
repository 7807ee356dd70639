"""Disks are merged only where nobody works: no run of any repository, and no program that holds the VM."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from vmkeep.flows.sweep_ground import Ground, SweepWishes
from vmkeep.flows.sweep_report import State
from vmkeep.flows.unmerged_disks import sweep_unmerged
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.vsphere.claims import ClaimedVm, VmClaim
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot
from vmkeep.vsphere.suspensions import MarkedVm, SuspendMark
from vmkeep.vsphere.traces import VmTraces

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
REF = VmRef(moref="vm-1", name="web01")
UNMERGED = VmTraces(vm=REF, instance_uuid="5000", consolidation_needed=True)
OURS = VmSnapshot(moref="snapshot-1", name="", run="r", repository="another", created_at=NOW, quiesced=False)
THEIRS = replace(OURS, run="")
CLAIMED = ClaimedVm(vm=REF, claim=VmClaim(run="r", made=False), off=True)
MARKED = MarkedVm(
    vm=REF, mark=SuspendMark(run="r", began=NOW, repository="another"), power=PowerState.ON, suspended_at=None
)


def swept(traces: VmTraces, *, points: tuple[str, ...] = ("5000/a",)) -> list[State]:
    ground = Ground(
        site=Site(repository="r"),
        repository=SimpleNamespace(spec=Repository, point_refs=lambda key: [one for one in points if key in one]),
        session=SimpleNamespace(spec=Session),
        wishes=SweepWishes(dry_run=True),
        vms=(traces,),
        now=NOW,
    )
    return [finding.state for finding in sweep_unmerged(ground)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [State.DEAD]),
        ({"consolidation_needed": False}, []),
        ({"snapshots": (THEIRS,)}, [State.DEAD]),
        ({"snapshots": (THEIRS, OURS)}, [State.IN_USE]),
        ({"claimed": CLAIMED}, [State.IN_USE]),
        ({"suspension": MARKED}, [State.IN_USE]),
        ({"fixed": True}, [State.LEFT]),
        ({"instance_uuid": None}, [State.LEFT]),
        ({"instance_uuid": "6000"}, [State.LEFT]),
    ],
    ids=str,
)
def test_disks_are_merged_only_where_nobody_works(change, expected):
    assert swept(replace(UNMERGED, **change)) == expected
