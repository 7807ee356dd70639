"""A plan that the wizard asked for and that cannot be made is an answer, and no failed restore. Nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from tests.dags.test_last_words import Run
from vmkeep.errors import ConflictError, CorruptError, NotFoundError, UnreachableError, VmKeepError
from vmkeep.model.fieldwords import named
from vmkeep_airflow.causes import KEY
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.wizardplans import refusal_as_answer


class Task(SimpleNamespace):
    """A task instance that keeps what it leaves."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id=run_id, try_number=1, max_tries=2, left={})

    def xcom_push(self, key, value):
        self.left[key] = value


def planning(run_id: str, error: VmKeepError, *, only_plan: bool = True) -> Task:
    task = Task(run_id)
    with refusal_as_answer(task, only_plan=only_plan):
        raise error
    return task


def test_a_refused_plan_of_the_wizard_skips_with_the_reason_as_result():
    task = Task("plan__1")
    why = f"a VM named a exists{' and its identity is long' * 40}: choose another name with {named('new_name')}"
    refused = pytest.raises(AirflowSkipException, match="choose another name with new_name")
    with refused, refusal_as_answer(task, only_plan=True):
        raise ConflictError(why)
    assert task.left["return_value"]["refused"].endswith(": choose another name with new_name")
    assert task.left[KEY]["why"] == why, "the wizard turns it into the words of its form, whole"


@pytest.mark.parametrize(
    ("run", "error", "only_plan"),
    [
        ("manual__1", NotFoundError("no VM"), True),  # whoever starts a run by the API looks at its state
        ("plan__1", NotFoundError("no VM"), False),
        ("plan__1", UnreachableError("the vCenter is silent"), True),
        ("plan__1", CorruptError("the point is damaged"), True),
    ],
)
def test_whatever_somebody_has_to_act_on_is_still_a_failure(run, error, only_plan):
    with pytest.raises(type(error)):
        planning(run, error, only_plan=only_plan)


def test_a_run_whose_plan_was_refused_ends_well_and_one_with_a_failed_plan_does_not():
    close = CloseRunOperator(task_id="last", result_task_id="finish", may_skip_after=("plan", "approve"))
    close.get_flat_relative_ids = lambda upstream: {"plan", "approve", "finish"}
    later = {"approve": "skipped", "finish": "skipped"}
    run = Run({"plan": "skipped", **later}, {"plan": [{"refused": "no"}]})
    assert close.execute({"ti": run}) == {"skipped": True}
    failed = Run({"plan": "failed", "approve": "upstream_failed", "finish": "upstream_failed"}, {})
    with pytest.raises(Exception, match="task plan failed"):
        close.execute({"ti": failed})
