"""Shows the results of a run in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep_airflow.reports import table
from vmkeep_airflow.states import problems_left, require_good, task_results, task_states


class ReportOperator(BaseOperator):
    """Log the results of tasks as a table. Fail the run if a task ended badly, left no result, or found a problem.

    It is the last task, with ``trigger_rule="all_done"``. So it reports the good results even if some tasks failed, and
    no earlier failure is hidden.

    :param results_of: ids of the tasks whose results are shown.
    :param problems_of: ids of the tasks that end well and leave their problems for this one.
    :returns: the results, by task id.
    """

    def __init__(self, *, results_of: Sequence[str], problems_of: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.results_of = list(results_of)
        self.problems_of = list(problems_of)

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the table, and check all tasks."""
        left = task_results(context, self.results_of)
        results = {task: found[0] if found else None for task, found in left.items()}
        for line in table(results):
            self.log.info("%s", line)
        problems = problems_left(context, self.problems_of)
        for line in problems:
            self.log.error("%s", line)
        try:
            require_good(task_states(context), left)
            if problems:
                raise AirflowFailException("; ".join(problems))
        except AirflowFailException:
            context["ti"].xcom_push(
                key="return_value", value=results
            )  # because Airflow keeps no result of a task that raises
            raise
        return results
