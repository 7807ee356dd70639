"""Warns of everything in which a new VM differs from the saved one, and of harm that it could do. Shown with the plan.

Nothing is left out silently: a part of the saved VM that the new one cannot have is named before the VM is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.restore_saved import SavedVm
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.flows.targets import still_here
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.vsphere.configspec import BuiltSpec
from vmkeep.vsphere.create import Place

_NO_TEMPLATES = (
    "the saved VM was a template, and the new one is an ordinary VM that is left off, because an ESXi host without "
    "vCenter knows no templates"
)


def about_a_new_vm(
    basis: PlanBasis, saved: SavedVm, plan: RestorePlan, place: Place, built: BuiltSpec, *, beside: str | None
) -> Iterator[str]:
    """Yield the warnings about a new VM at its place.

    :param beside: a sentence about the original VM, if it runs or may run.
    """
    if plan.dead is not None:
        yield f"VM {plan.target_name} ({plan.dead.vm}), left half made by run {plan.dead.run}, is removed first"
    yield from _about_the_cards(basis, place, built, beside)
    yield from _about_the_identity(basis)
    yield from about_chains(saved.point.disks)
    yield from saved.notes
    yield from place.notes
    yield from built.notes
    if built.template and not basis.session.is_vcenter:
        yield _NO_TEMPLATES


def _about_the_cards(basis: PlanBasis, place: Place, built: BuiltSpec, beside: str | None) -> Iterator[str]:
    """Say why the network cards are connected or not, if the original may run."""
    connected = {label for label, _ in built.networks} - {*built.unconnected}
    if beside is not None and built.held_back:
        say = f"in a restore of a single VM, say {named('connect_networks')}"
        until = f"connect them in vCenter when it is off, or, {say}"
        yield f"the network cards start disconnected, because {beside}: {until}"
    elif beside is not None and connected:
        yield f"the network cards are connected as asked, though {beside}"
    elif connected and not place.same_vcenter:
        vm = basis.point.vm
        original = f"the machine {vm.name} that was imported" if basis.point.vm.is_imported else vm.in_full
        yield f"the network cards are connected: whether {original} still runs is not known here"


def _about_the_identity(basis: PlanBasis) -> Iterator[str]:
    """Warn if the new VM would have the UUIDs of a VM that is still there."""
    if basis.request.new_vm.keep_identity and (there := still_here(basis.session, basis.point.vm)) is not None:
        yield (
            f"the new VM has the UUIDs of {there}, which is still there: for a copy, leave out "
            f"{named('keep_identity')}; of a recovery, make it a drill"
        )


def about_chains(disks: Iterable[Disk]) -> Iterator[str]:
    """Warn of disks that consisted of several files, because the new VM gets them without their older states."""
    if chained := [disk.label for disk in disks if len(disk.chain) > 1]:
        yield (
            f"{', '.join(chained)}: made as whole disks with their saved content, without its snapshots or the base of "
            "a linked clone"
        )
