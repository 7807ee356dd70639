"""Words the plan for new disks, as a person is shown it before it is carried out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.flows.attach_values import AttachPlan
from vmkeep.model.wording import size
from vmkeep.vsphere.names import decode_name


def attach_lines(plan: AttachPlan) -> tuple[str, ...]:
    """Return the plan, one line for each thing that it decides."""
    return tuple(_lines(plan))


def _lines(plan: AttachPlan) -> Iterator[str]:
    yield f"restore point {plan.point} was taken of {plan.vm.in_full}"
    yield f"{plan.target.in_full} gets new disks{', while it runs' if plan.running else ''}; its own stay as they are"
    added: set[str] = set()
    for disk, slot, new in zip(plan.disks, plan.slots, plan.carrier.disks, strict=True):
        kind = "thin" if new.thin else "thick"
        yield (
            f"{disk.label} ({disk.address}, {size(new.capacity)}) becomes {slot.address}, {kind}, "
            f"as {decode_name(new.file_name)}"
        )
        controller = f"{slot.kind}{slot.bus}"
        if slot.new_controller and controller not in added:
            added.add(controller)
            yield f"controller {controller} is added ({slot.new_controller})"
    yield f"until the disks are whole, they are on VM {plan.carrier.name}, which is made for them and then removed"
