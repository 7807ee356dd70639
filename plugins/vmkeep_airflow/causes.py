"""The causes for which tasks have failed. A task leaves its cause as data, for whoever has started its run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.errors import CancelledError, Recovery, TransientError, VmKeepError
from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.dagruns import DagRunId

log = logging.getLogger(__name__)

BACKUP: Final = "vm_backup"
"""The DAG that windows start, and for whose causes they ask."""
KEY: Final = "failure"
"""Key of the XCom. Airflow deletes it when the task is tried again."""
REASON: Final = "reason"
"""Key of the words of a task that failed by itself, for the run's note alone: no error of the engine was the cause."""
_LONGEST: Final = 500
"""Characters of a message that are kept, because a window keeps those of thousands of VMs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The cause for which a task has failed."""

    recovery: Recovery
    why: str


def leave_cause(ti: Any, error: VmKeepError, *, longest: int = _LONGEST) -> None:
    """Leave the cause of a task's failure, if this try is its last one and nobody has stopped it.

    :param ti: the task instance.
    :param longest: characters of the message that are kept.
    """
    tried_again = error.recovery is Recovery.RETRY and ti.try_number <= ti.max_tries
    if tried_again or isinstance(error, CancelledError):
        return
    _keep(ti, to_plain(Cause(recovery=error.recovery, why=_cut(str(error), longest))))


def leave_reason(ti: Any, words: str) -> None:
    """Leave the words of a task that fails by itself, for the note of its run.

    :param ti: the task instance.
    """
    try:
        ti.xcom_push(REASON, _cut(words, _LONGEST))
    except (AirflowRuntimeError, ServerResponseError) as problem:
        log.warning("the run's note will not tell this failure, because its reason is not kept: %s", problem)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@contextmanager
def cause_if_killed(ti: Any) -> Iterator[None]:
    """Leave a cause before the last try of a backup's task, and take it back when the body ends, however it ends.

    A process that is killed in the body takes nothing back, so that the cause stays. Earlier tries leave none, because
    Airflow itself tries the task again.

    :param ti: the task instance.
    """
    if ti.dag_id != BACKUP or ti.try_number <= ti.max_tries:
        yield
        return
    why = f"task {ti.task_id} was killed in its last try; its worker ran out of memory, or is gone"
    _keep(ti, to_plain(Cause(recovery=Recovery.RETRY, why=why)))
    try:
        yield
    finally:
        _keep(ti, {})


def _keep(ti: Any, plain: Mapping[str, Any]) -> None:
    """Store a cause in place of the one before.

    :param plain: empty: there is no cause.
    """
    try:
        ti.xcom_push(KEY, plain)
    except (AirflowRuntimeError, ServerResponseError) as problem:
        log.warning(
            "whether the window starts this backup again is not sure, because its cause is not kept: %s", problem
        )


def causes_of(ti: Any, run: DagRunId, tasks: Sequence[str]) -> list[Cause]:
    """Return the causes for which tasks of a run have failed, in the order of the tasks.

    :param ti: the task instance that asks.
    :raises TransientError: Airflow's API does not answer.
    """
    try:
        found = ti.xcom_pull(task_ids=list(tasks), dag_id=run.dag_id, run_id=run.run_id, key=KEY)
    except (AirflowRuntimeError, ServerResponseError) as error:
        raise TransientError(f"Airflow does not tell why {run.dag_id} {run.run_id} failed: {error}") from error
    return [from_plain(Cause, plain) for plain in found if plain]
