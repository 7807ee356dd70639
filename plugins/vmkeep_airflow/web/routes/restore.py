"""The restore wizard: what of a point, where to, the plan, and the start. Each step keeps its state in its address.

A plan is made by a DAG run that only plans, on the proxy that would do the work. So it is made by the same code, with
the same rights and the same disk driver as the restore, and no thread of the API server waits for it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.flows.fleet import ListedPoint
from vmkeep.flows.restore_ledger import shown_id
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.portable import PortableMachine
from vmkeep.web import (
    Given,
    PlanRun,
    RestoreForm,
    RestoreKind,
    RestorePlanPage,
    checked,
    conf_of,
    faults_of,
    fields_of,
    filled,
    form_of,
    head_of,
    overwrites,
    restore_plan_page,
    without_dry_run,
)
from vmkeep_airflow.choicewords import WORDS
from vmkeep_airflow.web.access import Operator, may_administer, operator
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.ownapi import OwnApiDep
from vmkeep_airflow.web.paths import own_path
from vmkeep_airflow.web.planruns import load_plan_run, require_run, start_plan, start_restore
from vmkeep_airflow.web.repositories import connection_to, load_machine
from vmkeep_airflow.web.sentforms import SentForm
from vmkeep_airflow.web.sources import load_point
from vmkeep_airflow.web.vcenters import find_vcenters, load_overwritten, load_places

pages = page_router()
answers = answer_router()

_Vsphere = Annotated[str, Query(max_length=LONGEST, description="Connection to the vCenter; empty: the default one")]
_TOO_LITTLE = "Only who may edit the repository's connection in Airflow may write over a VM. Ask your administrator."


@pages.get("/restore/{point_id}")
def show_kinds(user: Operator, point_id: str) -> HTMLResponse:
    """Show what can be restored from a point."""
    return html("restore.html", user, point=head_of(load_point(point_id), now()))


@pages.get("/restore/{point_id}/{kind}")
def show_form(user: Operator, point_id: str, kind: RestoreKind, vsphere: _Vsphere = "") -> HTMLResponse:
    """Show the form of one kind of restore."""
    return html("restore_form.html", user, page=_form(load_point(point_id), kind, vsphere, user, None))


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
    answer = start_plan(api, kind.dag_id, conf)
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
    page = restore_plan_page(planned, may_overwrite=_may_overwrite(user, planned))
    if page.why_not:
        raise HTTPException(status.HTTP_403_FORBIDDEN, page.why_not)
    if not page.may_start:
        raise HTTPException(status.HTTP_409_CONFLICT, f"This plan cannot be started. {page.sentence}")
    as_shown = shown_id(planned.result) if isinstance(planned.result, RestorePlan) else ""
    started = start_restore(api, planned, without_dry_run(planned.conf, as_shown=as_shown))
    return RedirectResponse(own_path("restores", dag_id, started), status.HTTP_303_SEE_OTHER)


@pages.get("/restores/{dag_id}/{run_id}")
def show_started(user: Operator, api: OwnApiDep, dag_id: str, run_id: str) -> HTMLResponse:
    """Say that a restore has started, and lead to its run."""
    require_run(api, dag_id, run_id)
    return html("restore_started.html", user, dag_id=dag_id, run_id=run_id)


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


def _form(point: ListedPoint, kind: RestoreKind, vsphere: str, user: object, sent: Given | None) -> RestoreForm:
    """Return a form: empty, or with the values that were sent and their faults."""
    head, vcenters = head_of(point, now()), find_vcenters()
    vsphere = vsphere or vcenters[0]
    if kind is RestoreKind.OVER and not may_administer(user, connection_to(point.repository)):
        return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, problem=_TOO_LITTLE)
    try:
        places = None if kind is RestoreKind.OVER else load_places(vsphere)
        machine = _machine(point, kind)
    except VmKeepError as error:
        return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, problem=str(error))
    groups = fields_of(kind, point, places=places, machine=machine, words=WORDS)
    if sent is not None:
        groups = checked(kind, filled(groups, sent))
    return form_of(head, kind, vsphere=vsphere, vcenters=vcenters, groups=groups, faults=faults_of(groups))


def _machine(point: ListedPoint, kind: RestoreKind) -> PortableMachine | None:
    return load_machine(point.repository, point.ref) if kind is RestoreKind.NEW else None


def _again(user: object, page: RestoreForm) -> HTMLResponse:
    answer = html("restore_form.html", user, page=page)
    answer.status_code = status.HTTP_403_FORBIDDEN if page.problem == _TOO_LITTLE else 422
    return answer


def _plan(user: object, planned: PlanRun) -> RestorePlanPage:
    lines: tuple[str, ...] = ()
    if isinstance(planned.result, RestorePlan) and overwrites(planned):
        conf = planned.conf
        lines = load_overwritten(
            planned.result, vsphere=str(conf.get("vsphere")), repository=str(conf.get("repository"))
        )
    return restore_plan_page(planned, overwritten=lines, may_overwrite=_may_overwrite(user, planned))


def _may_overwrite(user: object, planned: PlanRun) -> bool:
    return may_administer(user, str(planned.conf.get("repository") or ""))
