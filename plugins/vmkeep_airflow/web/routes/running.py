"""The page of everything in work, with the forms that stop a run and change a rate limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import HTTPException, Path, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.web import LIMIT, AtWork, RunningPage, RunsShown, running_page
from vmkeep_airflow.policies import PREFIX
from vmkeep_airflow.runnotes import LONGEST as LONGEST_NOTE
from vmkeep_airflow.web.access import Viewer, may_administer
from vmkeep_airflow.web.atwork import find_run, find_work
from vmkeep_airflow.web.auditlog import note
from vmkeep_airflow.web.frame import LONGEST, answer_router, data, html, page_router
from vmkeep_airflow.web.ownapi import OwnApi, OwnApiDep
from vmkeep_airflow.web.paths import own_path
from vmkeep_airflow.web.ratelimits import change_limit, find_limits
from vmkeep_airflow.web.sentforms import SentForm

pages = page_router()
answers = answer_router()

_Id = Annotated[str, Path(max_length=LONGEST)]
_CONSEQUENCES: Final = {
    "vm_backup": "Its copies end within a minute, its snapshot is removed, and no restore point is made. "
    "Blocks that it has stored are found again by the next backup.",
    "vm_restore": "A VM to which it wrote nothing is given back as it was. A VM that may be partly written is kept or "
    "removed as the run's field 'If it fails' says, and is never left looking complete.",
}
_WINDOW: Final = "No further backup of the window starts. Those that it has started go on; stop each of them by itself."
_OTHERS: Final = "Its work ends at its next step. Clean-up tasks still run."


_SHOWN: Final[dict[str, RunsShown]] = {each.value: each for each in RunsShown}
_Shown = Annotated[RunsShown | str, Query(description="The runs to list; empty: all")]


def _load(user: Any, shown: str = "") -> RunningPage:
    at = now()
    found = find_work(user, at)
    limits, problems = find_limits(user)
    work = AtWork(
        runs=found.runs, total=found.total, pools=found.pools, snapshots=found.snapshots, limits=limits,
        problems=problems,
    )  # fmt: skip
    return running_page(work, now=at, shown=_SHOWN.get(shown, RunsShown.ALL))


@pages.get("/running")
def show_running(user: Viewer, runs: _Shown = "") -> HTMLResponse:
    """Show everything in work."""
    return html("running.html", user, page=_load(user, runs))


@answers.get("/running", response_model=RunningPage, summary="Everything that is in work now")
def tell_running(user: Viewer, runs: _Shown = "") -> Response:
    """Return the page of everything in work as data. Sizes are in bytes, rates in bytes per second, times in UTC."""
    return data(_load(user, runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A run that was told to end."""

    dag_id: str
    run_id: str
    about: str
    consequence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLimit:
    """A rate limit as somebody asks for it; empty: none any more."""

    limit_rate: Annotated[str, Field(max_length=LONGEST)]


@answers.post("/running/stop/{dag_id}/{run_id}", response_model=Stopped, summary="Stop a run, so that it cleans up")
def tell_to_stop(user: Viewer, api: OwnApiDep, dag_id: _Id, run_id: _Id) -> Response:
    """Set a run to failed, so that it cleans up, and note who did it."""
    about = _stop(user, api, dag_id, run_id)
    return data(Stopped(dag_id=dag_id, run_id=run_id, about=about, consequence=_consequence(dag_id)))


@answers.post("/running/limits/{conn_id}", response_model=AskedLimit, summary="Change the rate limit of a repository")
def tell_limit(user: Viewer, api: OwnApiDep, asked: AskedLimit, conn_id: _Id) -> Response:
    """Change the rate limit of a repository's connection. Work that runs notices it by itself."""
    try:
        _change(user, api, conn_id, asked.limit_rate.strip())
    except UsageError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error
    return data(asked)


@pages.get("/running/stop/{dag_id}/{run_id}")
def ask_to_stop(user: Viewer, dag_id: _Id, run_id: _Id) -> HTMLResponse:
    """Ask whether a run shall be stopped, and say what happens then."""
    about = _stoppable(user, dag_id, run_id)
    words = _consequence(dag_id)
    return html("running_stop.html", user, dag_id=dag_id, run_id=run_id, about=about, consequence=words)


@pages.post("/running/stop/{dag_id}/{run_id}")
def stop(user: Viewer, api: OwnApiDep, dag_id: _Id, run_id: _Id) -> Response:
    """Set a run to failed, so that it cleans up, and note who did it."""
    _stop(user, api, dag_id, run_id)
    return RedirectResponse(own_path("running"), status.HTTP_303_SEE_OTHER)


@pages.post("/running/limits/{conn_id}")
def take_limit(user: Viewer, api: OwnApiDep, sent: SentForm, conn_id: _Id) -> Response:
    """Change the rate limit of a repository's connection."""
    typed = (sent.get("limit_rate") or [""])[0].strip()
    try:
        _change(user, api, conn_id, typed)
    except UsageError as error:
        return _limit_again(user, conn_id, typed, str(error))
    return RedirectResponse(f"{own_path('running')}#limits", status.HTTP_303_SEE_OTHER)


def _stop(user: Any, api: OwnApi, dag_id: str, run_id: str) -> str:
    """Stop a run, and return its VM, point or policy.

    :raises HTTPException: no such run is in work, the user may not stop it, or Airflow refuses.
    """
    about = _stoppable(user, dag_id, run_id)
    known = api.get("dags", dag_id, "dagRuns", run_id)
    line = f"stopped by {user.get_name()} through vmkeep"
    # A run that waits in the queue has no note yet, and the first line of a note names the VM.
    before = str((known.data.get("note") if isinstance(known.data, dict) else None) or about)
    noted = "\n".join(filter(None, [before[: LONGEST_NOTE - len(line) - 1], line]))
    answer = api.patch("dags", dag_id, "dagRuns", run_id, body={"state": "failed", "note": noted})
    if not answer.is_good:
        raise HTTPException(answer.code, f"Airflow did not stop it: {answer.why}")
    return about


def _change(user: Any, api: OwnApi, conn_id: str, rate: str) -> None:
    """Change a limit, and note it.

    :raises HTTPException: the user may not.
    :raises UsageError: the rate is none.
    """
    if not may_administer(user, conn_id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Only who may edit the connection in Airflow changes its limit.")
    before = change_limit(api, conn_id, rate)
    note(user, LIMIT, connection_id=conn_id, before=before, after=rate or None)  # Airflow's own row hides the values


def _consequence(dag_id: str) -> str:
    return _WINDOW if dag_id.startswith(PREFIX) else _CONSEQUENCES.get(dag_id, _OTHERS)


def _limit_again(user: Any, conn_id: str, typed: str, why: str) -> HTMLResponse:
    """Return the page with a limit as it was typed, and the reason why it cannot be taken."""
    page = _load(user)
    limits = tuple(
        replace(each, limit_rate=typed, fault=why) if each.conn_id == conn_id else each for each in page.limits
    )
    answer = html("running.html", user, page=replace(page, limits=limits))
    answer.status_code = status.HTTP_422_UNPROCESSABLE_CONTENT
    return answer


def _stoppable(user: Any, dag_id: str, run_id: str) -> str:
    """Return the VM, point or policy of a run that the user may stop.

    :raises HTTPException: 404: no such run is in work; 403: the user may not stop it.
    """
    found = find_run(user, dag_id, run_id)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"No run {run_id} of {dag_id} is in work. It may have ended.")
    about, may_stop = found
    if not may_stop:
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Only who may edit runs of {dag_id} in Airflow may stop one.")
    return about
