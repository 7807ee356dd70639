"""Decides as the last task whether a run was a success."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from pydantic import JsonValue

from vmkeep_airflow.assets import ANNOUNCED, RESTORE_POINTS, restore_points_by, restore_points_of
from vmkeep_airflow.states import problems_left, require_good, task_results, task_states

_LOOKED_BACK = 1000
"""Number of events among which the event of an earlier try is looked for."""


class CloseRunOperator(BaseOperator):
    """Fail the run unless every task before ended well and left its result.

    Airflow takes a run's state from its last task. If that is a teardown that succeeds, the run is a success even if
    its copies were killed by hand. So this operator is the last task: a teardown with
    ``on_failure_fail_dagrun=True``, after all others. A task that somebody marked as a success has left no result,
    which fails the run.

    :param result_task_id: the task whose XCom is the run's result, e.g. ``catalog``.
    :param may_skip_after: tasks that may skip themselves and all others, so that the run ends well with nothing done:
        ``plan``, ``approve``.
    :param problems_of: ids of the tasks that end well and leave their problems for this one.
    :param announce: emit one event for the asset of all points, one for the VM's asset and one for the policy's, once
        for each result with a ``point`` and a ``vm``.
    :param policy: name of the policy that has asked for the point; empty: a person has. Templated.
    :param repository_conn_id: Airflow connection to the repository of the point, for the events. Templated.
    :returns: the result.
    """

    template_fields: Sequence[str] = ("policy", "repository_conn_id")

    def __init__(
        self,
        *,
        result_task_id: str,
        may_skip_after: Collection[str] = (),
        problems_of: Collection[str] = (),
        announce: bool = False,
        policy: str = "",
        repository_conn_id: str = "",
        **kwargs: Any,
    ) -> None:
        assets: dict[str, Any] = {"inlets": [RESTORE_POINTS], "outlets": [ANNOUNCED]} if announce else {}
        super().__init__(**assets, **kwargs)
        self.result_task_id = result_task_id
        self.may_skip_after = may_skip_after
        self.problems_of = problems_of
        self.announce = announce
        self.policy = policy
        self.repository_conn_id = repository_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the states and results of all tasks. Raise an error, or announce the result."""
        states = task_states(context)
        skipped = any(states.get(task) == "skipped" for task in self.may_skip_after)
        results = task_results(context, sorted(self.get_flat_relative_ids(upstream=True)))
        require_good(states, results, also_good={"skipped"} if skipped else ())
        if problems := problems_left(context, self.problems_of):
            raise AirflowFailException("; ".join(problems))
        if skipped:
            return {"skipped": True}
        result: dict[str, Any] = results[self.result_task_id][0]
        if self.announce:
            extra = {"point": result["point"], "vm": result["vm"], "repository": self.repository_conn_id}
            self._announce(context, extra)
        return result

    def _announce(self, context: Context, extra: dict[str, JsonValue]) -> None:
        """Emit an event for each asset, unless an earlier try of this task has done so."""
        if context["ti"].try_number > 1:
            earlier = context["inlet_events"][RESTORE_POINTS].ascending(False).limit(_LOOKED_BACK)
            if any((event.extra or {}).get("point") == extra["point"] for event in earlier):
                self.log.info("%s was announced already", extra["point"])
                return
        assets = [RESTORE_POINTS, restore_points_of(str(extra["vm"]))]
        if self.policy:
            assets.append(restore_points_by(self.policy))
        for asset in assets:
            context["outlet_events"][ANNOUNCED].add(asset, extra=extra)
