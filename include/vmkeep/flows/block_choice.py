"""Chooses the blocks that a restore over an existing VM writes: those that changed since the point, or all.

The plan can only tell what speaks against it, because vSphere tells the changes of a VM that runs for a snapshot only,
and a plan takes none. So the changes are asked for when the VM is off and marked, before its tracking is switched off.
From then on the VM has to stay off. If it was started, or put back to a snapshot, the changes do not count any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from vmkeep.errors import ConflictError, StaleError, UnsupportedError, VmKeepError
from vmkeep.flows.parents import find_unfit
from vmkeep.flows.restore_values import DiskMatch, RestorePlan, Target
from vmkeep.flows.same_vm import other_history, other_vm
from vmkeep.model.disk import ChangeId, Disk, SkipReason
from vmkeep.model.extents import align_out, total
from vmkeep.model.job import DiskWrite, WriteJob
from vmkeep.model.overwrite import BlockChoice, Blocks
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.purpose import Purpose
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.vsphere import changes, disturbances, inventory, machines, rightscheck
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def expect_choices(
    session: Session,
    repository: Repository,
    point: RestorePoint,
    vm: inventory.VmDescription,
    matches: Sequence[DiskMatch],
    *,
    all_blocks: bool,
    dead: bool,
) -> tuple[BlockChoice, ...]:
    """Return the blocks that a restore is going to write of each disk, as far as that is known before the VM is off.

    :param all_blocks: the request asks for all blocks.
    :param dead: another restore over the VM did not finish.
    """
    against = "all blocks were asked for" if all_blocks else _against_vm(session, repository, point, vm, dead=dead)
    targets = {disk.key: disk for disk in vm.disks}
    choices = []
    for match in matches:
        if match.written and match.target_key is not None:
            found = against or _image(point, match, targets[match.target_key])
            if isinstance(found, str):
                choices.append(BlockChoice(disk=match.disk.key, blocks=Blocks.ALL, why=found))
            else:
                choices.append(BlockChoice(disk=match.disk.key, blocks=Blocks.CHANGED, why=_since(point.ref)))
    return tuple(choices)


def _since(ref: str) -> str:
    return f"vSphere tells the changes since {ref}"


def _against_vm(
    session: Session, repository: Repository, point: RestorePoint, vm: inventory.VmDescription, *, dead: bool
) -> str | None:
    """Return the reason why the changes of no disk can be known; ``None``: nothing speaks against it."""
    if (other := other_vm(point.vm, vm.identity)) is not None:
        return other
    if (unfit := find_unfit(repository, point.ref)) is not None:
        return unfit.text
    if dead:
        return "an earlier restore over the VM did not finish"
    if not vm.tracked:
        return "change tracking of the VM is off, as after a restore or before its first backup"
    if vm.snapshot_obstacles:
        return f"vSphere tells changes only with a snapshot, and takes none: {'; '.join(vm.snapshot_obstacles)}"
    where = {On.VM: session.vm(vm.moref)}
    if lacking := rightscheck.missing_when(session, Purpose.RESTORE_OVER, When.CHANGED_BLOCKS, where):
        return f"to ask for the changes, the user lacks {', '.join(lacking)} on the VM"
    return None


def _image(point: RestorePoint, match: DiskMatch, target: Disk) -> DiskImage | str:
    """Return a disk as the point holds it, or the reason why its changes cannot be known."""
    image = point.image_of(target)
    if image is None or image.disk.key != match.disk.key:
        return f"{target.label} is another disk than the one in the point"
    if image.change_id is None:
        return "the point has no change id of the disk"
    if target.skip is SkipReason.INDEPENDENT:
        return "the disk is independent, so that no snapshot holds it"
    other = other_history(image, target, None)
    return other.text if other is not None else image


def ask_choices(
    session: Session, repository: Repository, plan: RestorePlan, run: str, *, since: datetime, take: Callable[[], str]
) -> tuple[BlockChoice, ...]:
    """Ask vSphere for the changes of each disk since the point, and keep them as notes of the run.

    The VM is off and marked. Whatever goes wrong with the question only means that all blocks are written.

    :param since: a time before the VM was switched off, by vCenter's clock. From then on it must not be started.
    :param take: takes a snapshot of the VM, and returns its managed object id. It is called only if it is needed.
    """
    wanted = [choice for choice in plan.choices if choice.blocks is Blocks.CHANGED]
    if not wanted or plan.target is None or plan.target.moref is None:
        return plan.choices
    moref = plan.target.moref
    point = repository.load_point(plan.point)
    images = {image.disk.key: image for image in point.images}
    targets = {match.disk.key: match.target_key for match in plan.matches}
    try:
        snapshot = take()
        _require_off(session, moref)
        held = {disk.key: disk for disk in inventory.held_disks(session, moref, snapshot)}
    except VmKeepError as error:
        log.warning("VM %s: all blocks are written, because the changes cannot be asked for: %s", moref, error)
        return tuple(_all(choice, f"the changes could not be asked for: {error}") for choice in plan.choices)

    def asked(choice: BlockChoice) -> BlockChoice:
        now = held.get(targets.get(choice.disk) or 0)
        if choice.blocks is Blocks.ALL:
            return choice
        if now is None:
            return _all(choice, "the disk is in no snapshot")
        if (other := other_history(images[choice.disk], now.disk, now.change_id)) is not None:
            return _all(choice, other.text)
        change_id = images[choice.disk].change_id
        assert change_id is not None
        found = _ask(session, repository, choice, moref, snapshot, now.disk, change_id, run)
        return replace(found, since=since)

    return tuple(_logged(plan, asked(choice)) for choice in plan.choices)


def _require_off(session: Session, moref: str) -> None:
    if machines.power_state(session, moref) is not inventory.PowerState.OFF:
        raise ConflictError("somebody has started the VM meanwhile")


def _ask(
    session: Session,
    repository: Repository,
    choice: BlockChoice,
    moref: str,
    snapshot: str,
    disk: Disk,
    change_id: ChangeId,
    run: str,
) -> BlockChoice:
    note = f"changed-{choice.disk}"
    try:
        found = changes.changed_extents(session, moref, snapshot, disk.key, disk.capacity, change_id)
        repository.run(run).store_extents(note, found)
    except VmKeepError as error:  # e.g. a right was taken away since the plan
        return _all(choice, str(error))
    count = total(align_out(found, repository.block_size, within=disk.capacity))
    return replace(choice, extents=note, bytes_changed=count)


def _all(choice: BlockChoice, why: str) -> BlockChoice:
    return choice if choice.blocks is Blocks.ALL else BlockChoice(disk=choice.disk, blocks=Blocks.ALL, why=why)


def _logged(plan: RestorePlan, choice: BlockChoice) -> BlockChoice:
    label = next(match.disk.label for match in plan.matches if match.disk.key == choice.disk)
    log.info("VM %s, %s: %s", plan.target_name, label, choice_words(choice))
    return choice


def choice_words(choice: BlockChoice) -> str:
    """Return the choice as a clause."""
    if choice.blocks is Blocks.ALL:
        return f"all blocks are written, because {choice.why}"
    if choice.bytes_changed is None:
        return (
            "only blocks that changed are written, if vSphere tells them once the VM is off and no other block differs"
        )
    return f"{size(choice.bytes_changed)} in blocks that changed are written, because {choice.why}"


def still_chosen(session: Session, job: WriteJob) -> WriteJob:
    """Return a job as it holds now: with all blocks, if something may have written to the disk since it was planned."""
    choice = job.choice
    if choice is None or choice.blocks is Blocks.ALL:
        return job
    if (why := _disturbance(session, job.vm.moref, choice)) is None:
        return job
    log.warning("%s: all blocks are written, because %s", job.target_file, why)
    return replace(job, choice=_all(choice, why))


def require_still(session: Session, plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]) -> None:
    """Return if the VM stayed off while only a part of its disks was written.

    :raises StaleError: it may not have, so that the blocks that were left out may hold anything.
    """
    partly = {write.device_key for write in writes if write.blocks is Blocks.CHANGED}
    for choice in _of(target.choices, partly):
        if (why := _disturbance(session, target.vm, choice)) is not None:
            raise StaleError(
                f"VM {plan.target_name} is not restored: only the blocks that changed were written, and {why}; keep it "
                "off, and start a new restore"
            )


def _of(choices: Sequence[BlockChoice], disks: set[int]) -> Iterator[BlockChoice]:
    """Yield the choices of some disks, one for each time from which the VM has to stay off."""
    yield from {choice.since: choice for choice in choices if choice.disk in disks}.values()


def _disturbance(session: Session, moref: str, choice: BlockChoice) -> str | None:
    """Return what may have written to a VM's disks since it was switched off; ``None``: nothing has."""
    if choice.since is None:
        return "nobody knows whether the VM stayed off"
    try:
        found = disturbances.find_disturbance(session, moref, since=choice.since)
    except UnsupportedError:
        return f"{session.host} keeps no events that would tell whether the VM stayed off"
    return f"the VM did not stay off ({found})" if found is not None else None
