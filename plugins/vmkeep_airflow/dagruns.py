"""Finds the DAG run of a snapshot, and tells whether that run has ended.

A snapshot in vSphere names its run by a run key. The key is short and plain, because it is part of blob names and of
the snapshot's name, for which vSphere allows 80 characters. A note beside the run's leases in the repository names the
DAG run, and Airflow tells whether the DAG run has ended.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.errors import CorruptError, NotFoundError, TransientError
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site

if TYPE_CHECKING:
    from vmkeep.flows.leftovers import RunSnapshot

_ENDED = frozenset({"success", "failed"})
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9.]+")
_READABLE = 33
_NOTE = "owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class DagRunId:
    """The DAG run that a run key stands for."""

    dag_id: str
    run_id: str

    def run_key(self, try_number: int) -> str:
        """Return the key of one try, e.g. ``manual-2026-11-20T11.00.00-1f0c93d2.1``. It has at most 46 characters.

        Every try of the snapshot task is a run of its own in the repository. So a cleared task is not fenced by the
        teardown of the try before, and does not mix its disks with those of the older snapshot.
        """
        readable = _NOT_PLAIN.sub("-", self.run_id.replace("__", "-").replace(":", ".").split("+")[0]).strip("-")
        digest = hashlib.sha256(f"{self.dag_id}\n{self.run_id}".encode()).hexdigest()[:8]
        return f"{readable[:_READABLE].strip('-')}-{digest}.{try_number}"


def own_dag_run(ti: Any) -> DagRunId:
    """Return the DAG run of a task instance."""
    return DagRunId(dag_id=ti.dag_id, run_id=ti.run_id)


def clears_of(context: Context) -> int:
    """Return how often somebody has cleared a task's DAG run. A try after a failure does not count."""
    run: Any = context["dag_run"]
    return int(run.clear_number or 0)


def owner_text(owner: DagRunId) -> str:
    """Return the text by which a request names its owner."""
    return to_json(owner).decode()


def parse_dag_run(words: str | bytes) -> DagRunId | None:
    """Parse the text of :func:`owner_text`; ``None``: the text is of another program."""
    try:
        return from_json(DagRunId, words)
    except ValueError:
        return None


def dag_run_of(site: Site, run: str) -> DagRunId | None:
    """Return the DAG run behind a run key; ``None``: the run is of the command line or of another repository.

    A damaged note gives ``None`` too, because a note that nobody can read must not stop the sweep of other snapshots.
    """
    from vmkeep.flows.repositories import open_site_repository

    with open_site_repository(site) as repository:
        try:
            return parse_dag_run(repository.run(run).load(_NOTE))
        except (NotFoundError, CorruptError):
            return None


def snapshots_of_others(site: Site, context: Context, *, moref: str | None) -> Iterator[RunSnapshot]:
    """Yield the snapshots that other runs took of one VM, each with the decision about it."""
    from vmkeep.flows.leftovers import find_run_snapshots

    ti: Any = context["ti"]
    own = own_dag_run(ti)
    for found in find_run_snapshots(site, moref, has_ended=has_ended(ti)):
        if found.of_other or dag_run_of(site, found.run) != own:
            yield found


def own_runs(site: Site, context: Context, *, moref: str | None) -> set[str]:
    """Return the run keys of this DAG run that have a snapshot or an access hold on a VM. Each try has its own key."""
    from vmkeep.flows.held_vms import run_holding
    from vmkeep.flows.leftovers import find_run_snapshots

    ti: Any = context["ti"]
    own = own_dag_run(ti)
    runs = {found.run for found in find_run_snapshots(site, moref) if not found.of_other}
    if moref is not None and (holding := run_holding(site, moref)) is not None:
        runs.add(holding)
    return {run for run in runs if dag_run_of(site, run) == own}


def has_ended(ti: Any) -> Callable[[str], bool | None]:
    """Return a function that tells whether an owner's DAG run has ended, by the owner's text in the repository.

    It returns ``None`` for a run that this Airflow does not know. Earlier passes of the calling DAG run have ended.
    """
    own = own_dag_run(ti)

    def ended(words: str) -> bool | None:
        owner = parse_dag_run(words)
        if owner is None:
            return None
        state = state_of(ti, owner)
        return owner == own or (None if state is None else state in _ENDED)

    return ended


def state_of(ti: Any, owner: DagRunId) -> str | None:
    """Return the state of a DAG run; ``None``: this Airflow does not have it, or not any more.

    :raises TransientError: Airflow's API does not answer. The run must not count as unknown then, because an old run
        that still waits would lose its snapshot.
    """
    try:
        state = ti.get_dagrun_state(dag_id=owner.dag_id, run_id=owner.run_id)
    except (AirflowRuntimeError, ServerResponseError) as error:
        if status_of(error) == HTTPStatus.NOT_FOUND:
            return None
        raise TransientError(f"Airflow does not tell the state of {owner.dag_id} {owner.run_id}: {error}") from error
    return str(getattr(state, "value", state))


def result_of_run(ti: Any, run: DagRunId, task: str) -> Mapping[str, Any]:
    """Return the result of a task of another run; empty: it left none.

    :param ti: the task instance that asks.
    :raises TransientError: Airflow's API does not answer.
    """
    try:
        found = ti.xcom_pull(task_ids=task, dag_id=run.dag_id, run_id=run.run_id)
    except (AirflowRuntimeError, ServerResponseError) as error:
        raise TransientError(f"Airflow does not tell the result of {task} of {run.run_id}: {error}") from error
    return found if isinstance(found, Mapping) else {}


def start_dag_run(run: DagRunId, *, conf: dict[str, Any], note: str) -> str | None:
    """Start a DAG run; one of that id that exists already is left as it is.

    The operator of Airflow's own that starts a run ends its task with it, so it cannot start many.

    :returns: the reason why Airflow refuses these values; ``None``: the run exists.
    :raises TransientError: Airflow's API does not answer, or does not know the DAG now.
    """
    from airflow.sdk.execution_time.comms import TriggerDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=run.dag_id, run_id=run.run_id, conf=conf, note=note))
    except (AirflowRuntimeError, ServerResponseError) as error:
        if status_of(error) in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
            return str(error)
        raise TransientError(f"Airflow does not start {run.dag_id} {run.run_id}: {error}") from error
    return None


def status_of(error: AirflowRuntimeError | ServerResponseError) -> int | None:
    """Return the HTTP status of a failed call of Airflow's API; ``None``: there was no answer."""
    if isinstance(error, ServerResponseError):  # of a task that runs inside ``dag.test()``
        return error.response.status_code
    return (error.error.detail or {}).get("status_code")
