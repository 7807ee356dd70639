"""Shows the results of a run in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep_airflow.reports import table
from vmkeep_airflow.states import require_good, task_results, task_states


class ReportOperator(BaseOperator):
    """Write the results of tasks as a table into the log; fail the run if a task ended badly or left no result.

    It is the last task, with ``trigger_rule="all_done"``: it reports the good results whatever failed, and a run that
    ends with it never hides an earlier failure.

    :param results_of: the tasks whose results it shows.
    :returns: task → its result.
    """

    def __init__(self, *, results_of: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.results_of = list(results_of)

    def execute(self, context: Context) -> dict[str, Any]:
        """Report."""
        left = task_results(context, self.results_of)
        results = {task: found[0] if found else None for task, found in left.items()}
        for line in table(results):
            self.log.info("%s", line)
        try:
            require_good(task_states(context), left)
        except AirflowFailException:
            context["ti"].xcom_push(key="return_value", value=results)  # Airflow keeps no result of a task that raises
            raise
        return results
