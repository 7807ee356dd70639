"""Words a restore's plan, as a person is shown it before it is carried out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.flows.block_choice import choice_words
from vmkeep.flows.restore_saved import rdms_asked
from vmkeep.flows.restore_values import DiskMatch, RestorePlan
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.place import SettledPlace
from vmkeep.model.rdm import RdmChoice, RdmReplacement
from vmkeep.model.transport import BY_NETWORK
from vmkeep.model.wording import size
from vmkeep.model.writeway import TemporarySnapshot
from vmkeep.vsphere.names import decode_name


def plan_lines(plan: RestorePlan) -> tuple[str, ...]:
    """Return the plan, one line for each thing that it decides."""
    if plan.nothing_to_do:
        return (f"nothing is done: VM {plan.target_name} exists and is kept",)
    return tuple(_over(plan) if plan.place is None else _new(plan, plan.place))


def _over(plan: RestorePlan) -> Iterator[str]:
    assert plan.target is not None
    if plan.target.in_full == plan.vm.in_full:
        yield f"restore point {plan.point} is written over {plan.target.in_full}, of which it was taken"
    else:
        yield f"restore point {plan.point} was taken of {plan.vm.in_full}"
        yield f"it is written over {plan.target.in_full}"
    if plan.target_runs:
        yield f"VM {plan.target_name} is running, and is switched off before the first write, without asking its guest"
    by_key = {disk.key: disk for disk in plan.target_disks}
    for match in plan.matches:
        target = by_key.get(match.target_key) if match.target_key is not None else None
        if match.written and target is not None:
            over = f"{target.label}, {target.file_name} (UUID {target.uuid})"
            yield f"{_disk(match.disk)} is written over {over}{_note(match)}{_blocks(plan, match)}"
        else:
            yield f"{_disk(match.disk)} is not written{_note(match)}"
    written = {match.target_key for match in plan.matches}
    told = {match.disk.address for match in plan.matches if not match.written}
    for disk in plan.target_disks:
        if disk.key not in written and disk.address not in told:
            yield f"{_disk(disk)} of the VM is written over by nothing and stays as it is"
    if plan.request.over.undo is Undo.SNAPSHOT:
        yield "a snapshot of the VM is kept before the first write, so that the restore can be undone"
    yield from _way(plan)
    yield _check(plan)
    yield _power(plan)


def _new(plan: RestorePlan, place: SettledPlace) -> Iterator[str]:
    yield f"restore point {plan.point} was taken of {plan.vm.in_full}"
    yield f"a new VM {plan.target_name} is made in {place.folder_path}"
    host = f"first on host {place.host_name}" if place.host else "on the host that vSphere chooses"
    yield f"it runs in resource pool {place.pool_path}, {host}"
    yield f"its files go to datastore {decode_name(place.datastore)}"
    for what, path in place.directories:
        yield f"its {what} is {path}"
    stores, rdms = dict(place.disks), rdms_asked(plan.request.new_vm, [match.disk for match in plan.matches])
    for match in plan.matches:
        if _is_left_out(place, match.disk, rdms.get(match.disk.key)):
            yield f"{_disk(match.disk)} is not made{_note(match)}, as asked"
            continue
        store = decode_name(stores.get(match.disk.address, place.datastore))
        if match.written:
            yield f"{_disk(match.disk)} is written, on datastore {store}{_note(match)}"
        else:
            yield f"{_disk(match.disk)} is not written{_note(match)}; its file is on datastore {store}"
    for part, policy in place.policies:
        yield f"storage policy of {part}: {policy}"
    for tag in plan.tags:
        yield f"it gets the tag {tag}"
    for name, value in plan.attributes:
        yield f"its custom attribute '{name}' is '{value}'"
    for need in plan.needs:
        yield f"datastore {need.name} has {size(need.free)} free, of which the VM takes up to {size(need.most)}"
    for card, network in place.networks:
        starts = f"is made on {network}, and starts disconnected" if card in place.unconnected else f"is on {network}"
        yield f"{card} {starts}"
    yield from _way(plan)
    yield _check(plan)
    yield _power(plan)


def _is_left_out(place: SettledPlace, disk: Disk, choice: RdmChoice | None) -> bool:
    mapped = disk.address in dict(place.luns)
    return choice is not None and choice.replacement is RdmReplacement.OMIT and not mapped


def _disk(disk: Disk) -> str:
    return f"{disk.label} ({disk.address}, {size(disk.capacity)})"


def _note(match: DiskMatch) -> str:
    return f": {match.note}" if match.note else ""


def _blocks(plan: RestorePlan, match: DiskMatch) -> str:
    words = [choice_words(choice) for choice in plan.choices if choice.disk == match.disk.key]
    return "".join(f"; {each}" for each in words)


def _way(plan: RestorePlan) -> Iterator[str]:
    """Yield the way of writing, if the request names more than modes of the network."""
    if plan.way is not None:
        yield f"the disks are written by {plan.way.modes[0]}{_under(plan)}"
    elif any(mode not in BY_NETWORK for mode in plan.request.transports):
        listed = ", ".join(plan.request.transports)
        yield f"the disks are written by the first of {listed} that can write every disk of the new VM"


def _under(plan: RestorePlan) -> str:
    assert plan.way is not None
    match plan.way.snapshot:
        case TemporarySnapshot.NONE:
            return ""
        case TemporarySnapshot.BELOW:
            return ", below a temporary snapshot, to which the VM is put back before that is removed"
        case TemporarySnapshot.ABOVE:
            kept = plan.request.over.undo is Undo.SNAPSHOT
            return ", above the snapshot" if kept else ", above a temporary snapshot that is removed at the end"


def _check(plan: RestorePlan) -> str:
    match plan.request.verify:
        case Verify.ALL:
            return "every disk is read back as a whole and compared, before the VM may start"
        case Verify.SAMPLE:
            return "a sample of every written disk is read back and compared, before the VM may start"
        case Verify.NONE:
            return "no disk is read back, as asked"


def _power(plan: RestorePlan) -> str:
    if plan.template:
        return "the VM becomes a template at the end"
    if plan.request.power_on is None and plan.vm.is_imported:
        return (
            "the VM is left off at the end, because nobody knows whether the imported machine ran; "
            f"{named('power_on')} starts it"
        )
    ran = "it ran" if plan.power_on else "it did not run"
    why = f", because {ran} when it was backed up" if plan.request.power_on is None else ""
    return f"the VM is {'switched on' if plan.power_on else 'left off'} at the end{why}"
