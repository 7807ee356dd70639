"""Turns the engine's errors into Airflow's errors: those that a retry can help, and those that it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import wraps
from typing import Any, Final, TypeVar, cast

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from vmkeep.clock import now
from vmkeep.errors import (
    AmbiguousError,
    ConflictError,
    LimitReachedError,
    NotFoundError,
    Recovery,
    UnsupportedError,
    UsageError,
    VmKeepError,
)
from vmkeep.model.fieldwords import in_params
from vmkeep_airflow.causes import cause_if_killed, leave_cause, leave_reason

Work = TypeVar("Work", bound=Callable[..., Any])
log = logging.getLogger(__name__)

ABOUT_WHAT_WAS_ASKED: Final = (UsageError, NotFoundError, AmbiguousError, ConflictError, UnsupportedError)
"""Errors about what was asked for. All others are about a server, a right or stored data, and somebody has to act."""


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

    The message stands in a line of its own in the task's log, because Airflow's line says only that the task failed.
    If it tells of something that was asked for, no traceback of the engine follows: nothing in the code is to be found.

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
        log.error("%s", error)
        raise
    except VmKeepError as error:
        if ti is not None:
            leave_cause(ti, error)
        failure = _failure_of(error)
        log.error("%s", failure)
        raise failure from None if isinstance(error, ABOUT_WHAT_WAS_ASKED) else error


def _failure_of(error: VmKeepError) -> AirflowException:
    message = in_params(str(error))
    if error.recovery is Recovery.RETRY:
        return AirflowException(message)
    if error.recovery is Recovery.RESTART:
        return AirflowFailException(f"{message}. The plan is stale: trigger a new run.")
    return AirflowFailException(message)
