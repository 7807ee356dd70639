"""Makes the plan of a restore: point, target, place and disks, decided and checked. vSphere is only read.

A person is shown the plan and may have to approve it. All later steps carry out this plan, after comparing it with
vSphere.
"""

from __future__ import annotations

from dataclasses import replace

from vmkeep.errors import UsageError, VmKeepError
from vmkeep.flows.catalogued import open_with_catalog
from vmkeep.flows.connect import check_driver, open_vsphere
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.plan_new import plan_new
from vmkeep.flows.plan_over import plan_over
from vmkeep.flows.point_doubts import about_doubts
from vmkeep.flows.restore_ledger import PlanLedger
from vmkeep.flows.restore_mapping import GivenMapping
from vmkeep.flows.restore_request import RestoreRequest, require_no_new_vm_options, require_no_over_options
from vmkeep.flows.restore_saved import SavedVm, load_saved, require_vm
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.flows.saved_memory import about_the_memory
from vmkeep.flows.scan_outcome import about_scan
from vmkeep.flows.write_ways import about_way, way_over
from vmkeep.model.site import Site
from vmkeep.vsphere.names import require_usable_name


def plan_restore(site: Site, request: RestoreRequest, *, has_ended: HasEnded = nobody_knows) -> RestorePlan:
    """Find the point and the target, match every disk, and check rights and places. Changes nothing in vSphere.

    :param has_ended: tells whether the owner of another restore has ended; ``None``: the owner is not known.
    """
    mapping = GivenMapping(request.new_vm.mapping) if request.new_vm.mapping else None
    if mapping is not None:
        request = mapping.joined(request)
    _require_one_kind(request)
    driver = check_driver(site)
    with open_with_catalog(site) as repository, open_vsphere(site) as session:
        point = repository.find_point(request.point)
        require_vm(point)
        basis = PlanBasis(session=session, repository=repository, point=point, request=request, has_ended=has_ended)
        if request.new_name is None:
            plan = plan_over(basis)
        else:
            saved = load_saved(repository, point)
            plan = plan_new(basis, saved) if mapping is None else _by_mapping(basis, saved, mapping)
        if not plan.nothing_to_do:
            plan = replace(plan, way=way_over(session, plan, driver.transports))
            doubts = (
                *about_doubts(repository, point),
                *about_scan(repository, point, request.scan, request.scanned),
            )
            memory = about_the_memory(point, powers_on=plan.power_on)
            plan = replace(plan, warnings=(*doubts, *memory, *plan.warnings, *about_way(plan)))
            if not request.dry_run:
                PlanLedger(repository, plan).note_plan()
        return plan


def _by_mapping(basis: PlanBasis, saved: SavedVm, mapping: GivenMapping) -> RestorePlan:
    """Plan a new VM by a mapping. Messages name the mapping's fields, because options have to agree with them."""
    basis = replace(basis, request=mapping.with_parts(basis.request, saved))
    try:
        plan = plan_new(basis, saved)
    except VmKeepError as error:
        error.args = (mapping.said(str(error)), *error.args[1:])
        raise
    return replace(plan, warnings=tuple(map(mapping.said, plan.warnings)))


def _require_one_kind(request: RestoreRequest) -> None:
    """Return if a request goes over an existing VM or to a new one, and has no option of the other kind.

    :raises UsageError: it mixes them.
    """
    if request.new_name is None:
        require_no_new_vm_options(request)
        return
    if request.vm_selector is not None:
        raise UsageError("a restore goes over an existing VM or to a new one: give a VM or a new name, not both")
    require_usable_name(request.new_name)
    require_no_over_options(request)
