"""The restore wizard: what of a point, where to, the plan, and the start. Each step keeps its state in its address.

A plan is made by a DAG run that only plans, on the proxy that would do the work. So it is made by the same code, with
the same rights and the same disk driver as the restore, and no thread of the API server waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from vmkeep.clock import now
from vmkeep.errors import CatalogError, NotFoundError, UnreachableError, VmKeepError
from vmkeep.flows.choices import Machine
from vmkeep.flows.fleet import ListedPoint
from vmkeep.flows.restore_ledger import shown_id
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.fieldwords import in_params
from vmkeep.model.imagekeys import is_image_key
from vmkeep.model.portable import PortableMachine
from vmkeep.web import (
    FieldGroup,
    Given,
    PlanRun,
    RestoreForm,
    RestoreKind,
    RestorePlanPage,
    RestoreStartedPage,
    checked,
    conf_of,
    faults_of,
    fields_of,
    filled,
    form_of,
    given_of,
    head_of,
    kind_of,
    overwrites,
    plain,
    refused,
    restore_plan_page,
    restore_started_page,
    said_in_form,
    without_dry_run,
)
from vmkeep_airflow.choicewords import WORDS
from vmkeep_airflow.links import point_id_of
from vmkeep_airflow.runnotes import restore_subject
from vmkeep_airflow.web.access import Operator, may_administer, may_with_runs, operator
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.ownapi import OwnApi, OwnApiDep
from vmkeep_airflow.web.paths import own_path
from vmkeep_airflow.web.planruns import load_plan_run, load_restore_run, plan_of_run, start_plan, start_restore
from vmkeep_airflow.web.repositories import connection_to, is_restorable, load_machine
from vmkeep_airflow.web.sentforms import SentForm
from vmkeep_airflow.web.sources import load_point
from vmkeep_airflow.web.vcenters import find_vcenters, load_machines, load_overwritten, load_places, server_of

log = logging.getLogger(__name__)
pages = page_router()
answers = answer_router()

_Vsphere = Annotated[str, Query(max_length=LONGEST, description="Connection to the vCenter; empty: the default one")]
_Plan = Annotated[str, Query(max_length=LONGEST, description="Run that has planned what the form is filled in with")]
_TOO_LITTLE = "Only who may edit the repository's connection in Airflow may write over a VM. Ask your administrator."


@pages.get("/restore/{point_id}")
def show_kinds(user: Operator, point_id: str) -> HTMLResponse:
    """Show what can be restored from a point."""
    point = load_point(point_id)
    has_machine = not is_image_key(point.vm_key) or is_restorable(point.repository, point.ref)
    return html("restore.html", user, point=head_of(point, now()), has_machine=has_machine)


@pages.get("/restore/{point_id}/{kind}")
def show_form(
    user: Operator, api: OwnApiDep, point_id: str, kind: RestoreKind, vsphere: _Vsphere = "", plan: _Plan = ""
) -> HTMLResponse:
    """Show the form of one kind of restore: as it is at first, or as it was filled in for a plan."""
    point = load_point(point_id)
    if not plan:
        return html("restore_form.html", user, page=_form(point, kind, vsphere, user, None))
    planned = load_plan_run(api, kind.dag_id, plan)
    if planned.conf.get("point") != point.ref:
        raise NotFoundError(f"{plan} has planned nothing for the restore point {point.ref}")
    return html("restore_form.html", user, page=_form_again(point, kind, planned, vsphere, user))


@pages.post("/restore/{point_id}/{kind}")
def take_form(
    user: Operator, api: OwnApiDep, sent: SentForm, point_id: str, kind: RestoreKind, vsphere: _Vsphere = ""
) -> Response:
    """Ask for the plan of what a form says, and lead to it; or show the form again with its faults."""
    point = load_point(point_id)
    vsphere = vsphere or find_vcenters()[0]
    page = _form(point, kind, vsphere, user, sent)
    if page.problem or page.faults:
        return _again(user, page)
    machine = _machine(point, kind)
    repository = connection_to(point.repository)
    conf = conf_of(point, page.groups, machine=machine, vsphere=vsphere, repository=repository)
    answer = start_plan(api, kind.dag_id, conf, note=_note_of(point, conf))
    if not answer.is_good:
        why = f"Airflow did not take it: {answer.why}"
        return _again(user, form_of(page.point, kind, vsphere=vsphere, vcenters=page.vcenters, groups=page.groups,
                                    faults=(why,)))  # fmt: skip
    path = own_path("restore-plans", kind.dag_id, str(answer.data["dag_run_id"]))
    return RedirectResponse(path, status.HTTP_303_SEE_OTHER)


@pages.get("/restore-plans/{dag_id}/{run_id}")
def show_plan(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> HTMLResponse:
    """Show a plan, or how far it is."""
    return html("restore_plan.html", user, page=_plan(user, load_plan_run(api, dag_id, run_id)))


@pages.post("/restore-plans/{dag_id}/{run_id}")
def start(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> Response:
    """Start the restore that a plan shows, and lead to its run."""
    planned = load_plan_run(api, dag_id, run_id)
    if planned.started:
        return RedirectResponse(own_path("restores", dag_id, planned.started), status.HTTP_303_SEE_OTHER)
    page = restore_plan_page(planned, may_overwrite=_may_overwrite(user, planned))
    if page.why_not:
        raise HTTPException(status.HTTP_403_FORBIDDEN, page.why_not)
    if not page.may_start:
        raise HTTPException(status.HTTP_409_CONFLICT, f"This plan cannot be started. {page.sentence}")
    as_shown = shown_id(planned.result) if isinstance(planned.result, RestorePlan) else ""
    point = _point_of(planned.conf)
    note = _note_of(point, planned.conf) if point is not None else ""
    started = start_restore(api, planned, without_dry_run(planned.conf, as_shown=as_shown), note=note)
    return RedirectResponse(own_path("restores", dag_id, started), status.HTTP_303_SEE_OTHER)


@pages.get("/restores/{dag_id}/{run_id}")
def show_started(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> HTMLResponse:
    """Show how far a restore is that has started, and how it ended."""
    page = _started(user, api, dag_id, run_id)
    return html("restore_started.html", user, page=page, plan=plan_of_run(run_id))


@answers.get(
    "/restore/{point_id}/{kind}",
    response_model=RestoreForm,
    summary="Everything that can be chosen for a restore",
    dependencies=[Depends(operator)],
)
def tell_form(user: Operator, point_id: str, kind: RestoreKind, vsphere: _Vsphere = "") -> Response:
    """Return the form of one kind of restore as data: its fields are params of the DAG that restores."""
    return data(_form(load_point(point_id), kind, vsphere, user, None))


@answers.get("/restore-plans/{dag_id}/{run_id}", response_model=RestorePlanPage, summary="A plan of a restore")
def tell_plan(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> Response:
    """Return a plan as data, or how far it is."""
    return data(_plan(user, load_plan_run(api, dag_id, run_id)))


@answers.get("/restores/{dag_id}/{run_id}", response_model=RestoreStartedPage, summary="How far a restore is")
def tell_started(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> Response:
    """Return as data how far a restore is, or how it ended."""
    return data(_started(user, api, dag_id, run_id))


def _started(user: object, api: OwnApi, dag_id: str, run_id: str) -> RestoreStartedPage:
    run, at = load_restore_run(api, dag_id, run_id), now()
    point = _point_of(run.conf)
    may_stop = may_with_runs(user, "PUT", dag_id)
    server = server_of(str(run.conf.get("vsphere") or "")) if run.has_restored else ""
    if point is None:
        return restore_started_page(run, now=at, server=server, may_stop=may_stop)
    kind = kind_of(dag_id, run.conf)
    return restore_started_page(
        run,
        now=at,
        head=head_of(point, at),
        in_words=lambda message: said_in_form(message, kind, point, WORDS),
        server=server,
        may_stop=may_stop,
    )


def _form(point: ListedPoint, kind: RestoreKind, vsphere: str, user: object, sent: Given | None) -> RestoreForm:
    """Return a form: empty, or with the values that were sent and their faults."""
    head, vcenters = head_of(point, now()), find_vcenters()
    vsphere = vsphere or vcenters[0]
    if kind is RestoreKind.OVER and not may_administer(user, connection_to(point.repository)):
        return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, problem=_TOO_LITTLE)
    try:
        groups = _fields(point, kind, vsphere, _machine(point, kind))
    except VmKeepError as error:
        return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, problem=in_params(str(error)))
    if sent is not None:
        groups = checked(kind, filled(groups, sent))
    return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, groups=groups, faults=faults_of(groups))


def _form_again(point: ListedPoint, kind: RestoreKind, planned: PlanRun, vsphere: str, user: object) -> RestoreForm:
    """Return a form as it was filled in for a plan, with the reason for which that was refused."""
    page = _form(point, kind, vsphere or str(planned.conf.get("vsphere") or ""), user, None)
    if page.problem:
        return page
    groups = filled(page.groups, given_of(planned.conf, point, page.groups, machine=_machine(point, kind)))
    said = said_in_form(planned.failure, kind, point, WORDS)
    groups = refused(groups, planned.failure, said)
    faults = faults_of(groups) or tuple(filter(None, (said,)))
    return form_of(page.point, kind, vsphere=page.vsphere, vcenters=page.vcenters, groups=groups, faults=faults)


def _fields(
    point: ListedPoint, kind: RestoreKind, vsphere: str, machine: PortableMachine | None
) -> tuple[FieldGroup, ...]:
    """Return the fields of a form, with everything of a vCenter that can be chosen.

    :raises VmKeepError: the vCenter does not tell the places that the form cannot do without.
    """
    if kind is RestoreKind.NEW:
        places = load_places(vsphere)
        return fields_of(kind, point, places=places, machine=machine, vms=_machines(vsphere), words=WORDS)
    if kind is RestoreKind.ATTACH:
        return fields_of(kind, point, places=load_places(vsphere), vms=load_machines(vsphere), words=WORDS)
    return fields_of(kind, point, vms=_machines(vsphere), words=WORDS)


def _machines(vsphere: str) -> tuple[Machine, ...]:
    """Return the VMs of a vCenter for a form that can do without: the plan knows a VM or a taken name in any case."""
    try:
        return load_machines(vsphere)
    except VmKeepError as error:
        log.warning("no VMs are known to the form: %s", error)
        return ()


def _machine(point: ListedPoint, kind: RestoreKind) -> PortableMachine | None:
    return load_machine(point.repository, point.ref) if kind is RestoreKind.NEW else None


def _again(user: object, page: RestoreForm) -> HTMLResponse:
    answer = html("restore_form.html", user, page=page)
    answer.status_code = status.HTTP_403_FORBIDDEN if page.problem == _TOO_LITTLE else 422
    return answer


def _plan(user: object, planned: PlanRun) -> RestorePlanPage:
    lines: tuple[str, ...] = ()
    if isinstance(planned.result, RestorePlan) and overwrites(planned) and not planned.started:
        conf = planned.conf
        found = load_overwritten(
            planned.result, vsphere=str(conf.get("vsphere")), repository=str(conf.get("repository"))
        )
        target = planned.result.target
        lines = (f"VM {target.in_full if target else planned.result.target_name}", *found)
    point = _point_of(planned.conf)
    if point is None:
        return restore_plan_page(planned, overwritten=lines, may_overwrite=_may_overwrite(user, planned))
    kind = kind_of(planned.dag_id, planned.conf)
    return restore_plan_page(
        planned,
        head=head_of(point, now()),
        in_words=lambda message: said_in_form(message, kind, point, WORDS),
        overwritten=lines,
        may_overwrite=_may_overwrite(user, planned),
    )


def _point_of(conf: Mapping[str, Any]) -> ListedPoint | None:
    """Return the point that a run restores from; ``None``: no catalog lists it now, or none can be read."""
    point_id = point_id_of(str(conf.get("point", "")))
    try:
        return load_point(point_id) if point_id else None
    except (NotFoundError, CatalogError, UnreachableError) as error:
        log.info("the wizard shows a plan without its point: %s", error)
        return None


def _note_of(point: ListedPoint, conf: Mapping[str, Any]) -> str:
    """Return the note of a run of the wizard, which names its VMs."""
    target = conf.get("new_name") or conf.get("vm") or "its original VM"
    return restore_subject(plain(point.vm_name), point.ref, plain(str(target)))


def _may_overwrite(user: object, planned: PlanRun) -> bool:
    return may_administer(user, str(planned.conf.get("repository") or ""))
