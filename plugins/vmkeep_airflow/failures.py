"""Turns the engine's errors into Airflow's errors: those that a retry can help, and those that it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from vmkeep.clock import now
from vmkeep.errors import LimitReachedError, Recovery, VmKeepError
from vmkeep.model.fieldwords import in_params
from vmkeep_airflow.causes import cause_if_killed, leave_cause, leave_reason

Work = TypeVar("Work", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def leaving_reason(work: Work) -> Work:
    """Let a method that Airflow calls leave the reason of its failure, with :func:`airflow_failures` around it.

    :param work: ``execute`` or ``execute_complete`` of an operator.
    """

    @wraps(work)
    def wrapped(operator: Any, context: Context, *given: Any, **more: Any) -> Any:
        with airflow_failures(context.get("ti")):
            return work(operator, context, *given, **more)

    return cast("Work", wrapped)


@contextmanager
def airflow_failures(ti: Any = None) -> Iterator[None]:
    """Turn a ``VmKeepError`` of the body into Airflow's error, by its ``recovery``.

    ``RETRY`` uses the task's retries. ``RESTART`` and ``STOP`` fail the task at once, because the same task with the
    same input would fail again hours later. A task that a limit leaves no room for ends without a failure, gives back
    its worker and its slot in the pool, and is started again later. That uses none of its retries.

    :param ti: the task instance that leaves the cause of its failure; ``None``: nobody asks for it.
    """
    try:
        with nullcontext() if ti is None else cause_if_killed(ti):
            yield
    except LimitReachedError as error:
        log.info("%s; this task is started again in %.0f s", error, error.again_after)
        again: Any = AirflowRescheduleException  # its constructor has no types
        raise again(now() + timedelta(seconds=error.again_after)) from error
    except AirflowFailException as error:
        if ti is not None:
            leave_reason(ti, str(error))
        raise
    except VmKeepError as error:
        if ti is not None:
            leave_cause(ti, error)
        if error.recovery is Recovery.RETRY:
            raise AirflowException(in_params(str(error))) from error
        if error.recovery is Recovery.RESTART:
            raise AirflowFailException(f"{in_params(str(error))}. The plan is stale: trigger a new run.") from error
        raise AirflowFailException(in_params(str(error))) from error
