"""The outcome of a restore in words for the person who goes on with its VM. Pure.

The plan told what was to be done, and is left behind by then. So the page at the end says where the VM is, whether it
runs, which of its disks and network cards differ from those that were saved, and every warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.flows.attach_values import Attached
from vmkeep.flows.restore_values import Restored, RestorePlan
from vmkeep.lateclass import dataclass
from vmkeep.model.place import SettledPlace
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import counted, size
from vmkeep.vsphere.names import decode_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOutcome:
    """Everything that a restore has left."""

    vm: VmRef
    """The VM that was made, was written over, or got disks."""
    vcenter: str
    """Instance UUID of its vCenter; empty: it is not known, or the VM is on an ESXi host without vCenter."""
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def outcome_of(result: Restored | Attached, plan: RestorePlan | None) -> RestoreOutcome:
    """Return the outcome in words.

    :param plan: the plan that was carried out; ``None``: it cannot be read, or the restore has none.
    """
    if isinstance(result, Attached):
        vcenter, lines = result.vcenter, tuple(_attached(result))
    else:
        vcenter, lines = plan.vcenter if plan is not None else None, tuple(_restored(result, plan))
    return RestoreOutcome(vm=result.vm, vcenter=vcenter or "", lines=lines, warnings=result.warnings)


def _attached(result: Attached) -> Iterator[str]:
    yield f"VM {result.vm} has got {counted(len(result.disks), 'new disk')}; its other disks are as they were"
    yield from (f"{new.disk} is the file {decode_name(new.file_name)}" for new in result.disks)
    yield _compared(result.bytes_compared)


def _restored(result: Restored, plan: RestorePlan | None) -> Iterator[str]:
    place = plan.place if plan is not None else None
    if place is None:
        yield f"VM {result.vm} {'was made' if result.created else 'was written over'}"
    else:
        yield f"VM {result.vm} was made in {place.folder_path}, in resource pool {place.pool_path}"
        yield f"its files are on datastore {decode_name(place.datastore)}"
    yield _power(result, plan)
    if place is not None:
        yield from _cards(place)
    elif plan is not None:
        yield from _left(plan)
    yield _compared(sum(disk.bytes_compared for disk in result.disks))


def _power(result: Restored, plan: RestorePlan | None) -> str:
    if plan is not None and plan.template:
        return "it is a template"
    return "it was switched on" if result.powered_on else "it is off: switch it on when it is to run"


def _left(plan: RestorePlan) -> Iterator[str]:
    """Yield the disks of a VM that were not written over. Of a new VM the warnings name them."""
    for match in plan.matches:
        if not match.written:
            why = f": {match.note}" if match.note else ""
            yield f"{match.disk.label} ({match.disk.address}) was not written{why}"


def _cards(place: SettledPlace) -> Iterator[str]:
    for card, network in place.networks:
        held = card in place.unconnected
        yield f"{card} is on {network}{', and starts disconnected: connect it in vCenter' if held else ''}"


def _compared(amount: int) -> str:
    if not amount:
        return "nothing was read back from the disks"
    return f"{size(amount)} were read back from the disks, and match the restore point"
