"""Makes the plan of a restore to a new VM: its place, its devices, and the VM that may have its name already."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.lun_writes import about_luns
from vmkeep.flows.new_disks import match_new_disks
from vmkeep.flows.new_labels import choose_labels
from vmkeep.flows.new_vm_warnings import about_a_new_vm
from vmkeep.flows.nvram import in_new
from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_room import needs_of, room_for
from vmkeep.flows.restore_saved import SavedVm, request_place, spec_options
from vmkeep.flows.restore_values import DeadRestore, RestorePlan
from vmkeep.flows.targets import may_run_here
from vmkeep.model.fieldwords import named
from vmkeep.vsphere import create, inventory
from vmkeep.vsphere.create import Place
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.server import server_uuid


def plan_new(basis: PlanBasis, saved: SavedVm) -> RestorePlan:
    """Settle where each part of a new VM goes, and what it cannot be like the saved one.

    :raises ConflictError: a VM has the name already.
    :raises NotFoundError: a place that the request names does not exist.
    """
    session, request, point = basis.session, basis.request, basis.point
    name = point.vm.name if request.new_name is None else request.new_name
    place = create.resolve_place(
        session, point.vm, request_place(request.new_vm, saved), name, references=saved.origin.references
    )
    plan = RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        vcenter=server_uuid(session),
        target=None,
        target_name=name,
        matches=(),
    )
    taken = _taken(basis, place) if place.taken_by is not None else None
    if taken is not None and taken.claim is None and request.on_conflict is OnConflict.KEEP:
        return replace(plan, target=taken.identity, nothing_to_do=True)
    return _settled(basis, saved, replace(plan, dead=_half_made(basis, place, taken)), place)


def _settled(basis: PlanBasis, saved: SavedVm, plan: RestorePlan, place: Place) -> RestorePlan:
    session, request, point = basis.session, basis.request, basis.point
    beside = may_run_here(session, point.vm)
    connect = beside is None or request.new_vm.connect_networks
    options = replace(
        spec_options(request.new_vm, saved, plan.target_name, connect=connect),
        replaces=plan.dead.vm if plan.dead is not None else None,
    )
    place, built = create.choose_host(session, saved.config, place, options)
    template = built.template and session.is_vcenter
    if template and request.power_on:
        raise UsageError(f"{point.ref} is of a template, which vSphere never switches on: restore it without power-on")
    nvram = in_new(basis.repository, point, built)
    labels = choose_labels(basis, saved, place)
    matches = match_new_disks(request, point.disks, dict(built.mapped))
    power_on = not template and basis.powers_on
    needs = needs_of(session, place.host, built, matches, runs=power_on)
    growth = room_for(basis.repository, point.ref, needs, half_made=plan.dead is not None)
    return replace(
        plan,
        place=create.settle(place, built),
        original_runs=beside is not None,
        matches=matches,
        power_on=power_on,
        template=template,
        tags=labels.tags,
        attributes=labels.attributes,
        needs=needs,
        nvram=nvram.put_back,
        warnings=(
            *about_a_new_vm(basis, saved, plan, place, built, beside=beside),
            *about_luns(session, place.host, matches, dict(built.mapped)),
            *labels.notes,
            *growth,
            *nvram.notes,
        ),
    )


def _taken(basis: PlanBasis, place: Place) -> VmDescription:
    """Return the description of the VM that has the new VM's name already.

    :raises ConflictError: its configuration cannot be read, so that nobody can tell what it is.
    """
    try:
        return inventory.describe_vm(basis.session, place.taken_by or "")
    except UnsupportedError as error:
        raise ConflictError(
            f"a VM named {place.name} exists in {place.folder_path} ({place.taken_by}), and its configuration cannot "
            f"be read: choose another name ({error})"
        ) from None


def _half_made(basis: PlanBasis, place: Place, taken: VmDescription | None) -> DeadRestore | None:
    """Return the dead restore that left the VM of that name half made; ``None``: no VM has the name.

    :raises ConflictError: the VM is whole, or its restore may still be at work.
    """
    if taken is None:
        return None
    if taken.claim is not None and taken.claim.made:
        dead = dead_or_refused(basis.session, basis.repository, taken.ref, taken.claim, basis.has_ended)
        if dead is not None:
            return dead
    raise ConflictError(
        f"a VM named {place.name} exists in {place.folder_path} ({place.taken_by}): choose another name with "
        f"{named('new_name', recovery='rename')}, or write over an existing VM with {named('vm')}"
    )
