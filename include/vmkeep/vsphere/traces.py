"""Reads the traces that runs leave on VMs, of all VMs in one pass: snapshots, marks, holds, unmerged disks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import protection, relocation, snapshots, suspensions
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.claims import DRILL, ClaimedVm, parse_claim, parse_incomplete
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot
from vmkeep.vsphere.suspensions import MarkedVm
from vmkeep.vsphere.vmsettings import values_by_key

_PATHS: Final = tuple(
    dict.fromkeys(
        (
            *suspensions.PATHS,
            *protection.PATHS,
            "config.instanceUuid",
            "disabledMethod",
            "runtime.consolidationNeeded",
            "snapshot",
        )
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmTraces:
    """The traces of runs on one VM."""

    vm: VmRef
    instance_uuid: str | None = None
    snapshots: tuple[VmSnapshot, ...] = ()
    """All snapshots of the VM, also those that no run has taken."""
    why_unknown: str = ""
    """The reason why vSphere does not show the VM's snapshots and marks; empty: it shows them."""
    claimed: ClaimedVm | None = None
    """The mark of a restore."""
    drill: str = ""
    """The mark of the drill that made the VM; empty: none."""
    suspension: MarkedVm | None = None
    """The mark of a backup that suspends the VM."""
    fixed: bool = False
    """The VM cannot be relocated now. An access hold is one of the possible causes."""
    consolidation_needed: bool = False


def list_traces(session: Session) -> tuple[VmTraces, ...]:
    """Return the traces on every VM. The number of calls is constant for each page of VMs.

    A snapshot that is being taken is not waited for: it is among the traces once it is there.
    """
    with speaking("look at all VMs for traces of runs"):
        found = read_all(session, vim.VirtualMachine, *_PATHS)
    return tuple(_traces(vm, values) for vm, values in found)


def _traces(vm: Any, values: Mapping[str, Any]) -> VmTraces:
    ref = VmRef(moref=moref_of(vm), name=decode_name(values["name"] or ""))
    tree, settings = values["snapshot"], values["config.extraConfig"]
    claim, incomplete = parse_claim(settings), parse_incomplete(settings)
    hidden = tree is None and values["config.version"] is None
    off = str(values["runtime.powerState"]) == "poweredOff"
    return VmTraces(
        vm=ref,
        instance_uuid=values["config.instanceUuid"],
        snapshots=snapshots.in_tree(tree),
        why_unknown=protection.no_configuration(values["runtime.connectionState"]) if hidden else "",
        claimed=ClaimedVm(vm=ref, claim=claim, off=off, incomplete=incomplete) if claim is not None else None,
        drill=values_by_key(settings).get(DRILL, ""),
        suspension=suspensions.parse_marked(vm, values),
        fixed=relocation.lists_relocation(values["disabledMethod"]),
        consolidation_needed=bool(values["runtime.consolidationNeeded"]),
    )
