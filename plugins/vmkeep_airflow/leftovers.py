"""Whose snapshot is it, and may it go? vSphere knows the run, the repository its owner, Airflow the owner's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.errors import TransientError
from vmkeep.model.site import Site
from vmkeep_airflow.ownership import owner_of, parse_owner
from vmkeep_airflow.run_key import Owner

if TYPE_CHECKING:
    from vmkeep.flows.leftovers import RunSnapshot

_ENDED = frozenset({"success", "failed"})


class Verdict(StrEnum):
    """What to do with a run's snapshot."""

    REMOVE = "remove"
    """Its run has ended."""
    IN_USE = "in use"
    """Its run has not ended, or holds a lease, or is another repository's and not old."""
    UNKNOWN = "unknown"
    """Nobody here knows its run, and it is not old enough to be given up, or another repository's."""


def judge(found: RunSnapshot, *, owner_state: str | None, given_up_after: timedelta) -> Verdict:
    """Decide over one snapshot.

    :param owner_state: state of the DAG run it belongs to; ``None`` where this Airflow knows of none.
    :param given_up_after: age from which a snapshot that nobody knows, and whose copies are silent, is a leftover.
    """
    if found.of_other:
        return Verdict.IN_USE if found.alive else Verdict.UNKNOWN
    if owner_state is not None:
        return Verdict.REMOVE if owner_state in _ENDED else Verdict.IN_USE
    if found.alive:
        return Verdict.IN_USE
    return Verdict.REMOVE if found.age >= given_up_after else Verdict.UNKNOWN


def judged(
    site: Site, context: Context, *, vm: str | None = None, given_up_after: timedelta
) -> Iterator[tuple[RunSnapshot, Verdict]]:
    """Yield every run's snapshot on a VM, or on all, with the verdict; those of the asking run left out."""
    from vmkeep.flows.leftovers import find_run_snapshots

    ti: Any = context["ti"]
    own = Owner(dag_id=ti.dag_id, run_id=ti.run_id)
    for found in find_run_snapshots(site, vm):
        owner = None if found.of_other else owner_of(site, found.run)
        if owner != own:
            state = state_of(ti, owner) if owner else None
            yield found, judge(found, owner_state=state, given_up_after=given_up_after)


def own_runs(site: Site, context: Context, *, vm: str | None) -> set[str]:
    """Return the run keys of the asking DAG run that have a snapshot on a VM, or hold it: one for each try."""
    from vmkeep.flows.held_vms import run_holding
    from vmkeep.flows.leftovers import find_run_snapshots

    ti: Any = context["ti"]
    own = Owner(dag_id=ti.dag_id, run_id=ti.run_id)
    runs = {found.run for found in find_run_snapshots(site, vm) if not found.of_other}
    if vm is not None and (holding := run_holding(site, vm)) is not None:
        runs.add(holding)
    return {run for run in runs if owner_of(site, run) == own}


def has_ended(ti: Any) -> Callable[[str], bool | None]:
    """Return what tells of an owner, by its words in the repository, whether its DAG run has ended.

    ``None``: this Airflow does not know the run. To the asking run all that an earlier pass of it left is over.
    """
    own = Owner(dag_id=ti.dag_id, run_id=ti.run_id)

    def ended(words: str) -> bool | None:
        owner = parse_owner(words)
        if owner is None:
            return None
        state = state_of(ti, owner)
        return owner == own or (None if state is None else state in _ENDED)

    return ended


def state_of(ti: Any, owner: Owner) -> str | None:
    """Return the state of a DAG run; ``None`` for one that this Airflow does not have, or has no more.

    :raises TransientError: Airflow's API does not say. Taken for unknown, a run that is old and waits would lose what
        it needs.
    """
    try:
        state = ti.get_dagrun_state(dag_id=owner.dag_id, run_id=owner.run_id)
    except (AirflowRuntimeError, ServerResponseError) as error:
        if _status(error) == HTTPStatus.NOT_FOUND:
            return None
        raise TransientError(f"Airflow does not tell the state of {owner.dag_id} {owner.run_id}: {error}") from error
    return str(getattr(state, "value", state))


def _status(error: AirflowRuntimeError | ServerResponseError) -> int | None:
    """Return the HTTP status of an answer of Airflow's API; ``None``: there was no answer."""
    if isinstance(error, ServerResponseError):  # of a task that runs inside ``dag.test()``
        return error.response.status_code
    return (error.error.detail or {}).get("status_code")
