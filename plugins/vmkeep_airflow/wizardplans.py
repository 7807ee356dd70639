"""Plans that the restore wizard asks for. A plan that cannot be made as asked is an answer there, and no failed run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.model.fieldwords import in_params
from vmkeep_airflow.causes import leave_cause
from vmkeep_airflow.failures import ABOUT_WHAT_WAS_ASKED

PLAN: Final = "plan__"
"""Beginning of the id of each run that the wizard starts only to plan."""
REFUSED: Final = "refused"
"""Key of the reason in the result of a task whose plan was refused."""
_LONGEST: Final = 10_000
"""Characters of a reason that the wizard shows."""


@contextmanager
def refusal_as_answer(ti: Any, *, only_plan: bool) -> Iterator[None]:
    """Let a task of the wizard's run skip itself, with the reason as its result, if what was asked for cannot be done.

    In any other run the error passes, because whoever starts one by hand or by the API looks at its state.

    :param ti: the task instance.
    :param only_plan: the task changes nothing.
    """
    try:
        yield
    except ABOUT_WHAT_WAS_ASKED as error:
        if not only_plan or not ti.run_id.startswith(PLAN):
            raise
        why = in_params(str(error))
        leave_cause(ti, error, longest=_LONGEST)  # whole, because the end of a message says what to do
        ti.xcom_push(key="return_value", value={REFUSED: why})  # because a task that is skipped by hand leaves none
        raise AirflowSkipException(f"the plan is refused: {why}") from error
