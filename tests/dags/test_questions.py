"""What a person is asked before a VM is touched: who wants it, until when, and what a no or silence means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from vmkeep.flows.undo_values import Undoable
from vmkeep.model.job import to_plain
from vmkeep.model.vmref import VmRef
from vmkeep_airflow.operators.approve_undo import ApproveUndoOperator
from vmkeep_airflow.operators.end_undoable import EndUndoableOperator
from vmkeep_airflow.steps import Approval

FOUND = Undoable(
    vm=VmRef(moref="vm-16", name="*app01*"), restore="r-1", snapshot="snapshot-7", power="poweredOn",
    taken_at=datetime(2026, 11, 20, tzinfo=UTC), devices_added=("Network adapter 2",),
)  # fmt: skip
CONTEXT = {
    "ti": SimpleNamespace(), "task_instance": SimpleNamespace(id="id"),
    "dag_run": SimpleNamespace(
        triggering_user_name="jane", run_after=datetime(2026, 11, 26, 22, 5, tzinfo=UTC), run_id="manual__1"
    ),
}  # fmt: skip


def question(**options):
    return ApproveUndoOperator(
        task_id="approve",
        found=to_plain(FOUND),
        undo=True,
        response_timeout=timedelta(hours=24),
        **{"yes": False, **options},
    )


def answered(option: str) -> dict[str, object]:
    return {
        "chosen_options": [option], "params_input": {}, "responded_at": datetime(2026, 11, 26, tzinfo=UTC),
        "responded_by_user": {"id": "1", "name": "joe"},
    }  # fmt: skip


def test_a_question_says_who_asks_until_when_and_what_is_lost_in_words_that_no_name_can_format(monkeypatch):
    asked = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: asked.update(question))

    with pytest.raises(TaskAwaitingInput) as waiting:
        question().execute(CONTEXT)

    assert waiting.value.kwargs == {"shown": FOUND.id}
    assert waiting.value.timeout == timedelta(hours=24)
    assert asked["defaults"] is None, "because silence is no answer"
    for told in ("asked for by jane on 2026-11-26 22:05 UTC, in run manual__1", "without an answer until", "is lost",
                 "*app01*", "snapshot-7 of 2026-11-20", "Network adapter 2"):  # fmt: skip
        assert told in asked["body"]
    assert all(line.startswith("    ") for line in asked["body"].splitlines())


def test_a_yes_is_to_the_restore_that_was_shown_and_names_who_gave_it():
    done = question().execute_complete(CONTEXT, answered("Approve"), shown=FOUND.id)

    assert done == to_plain(Approval(plan=FOUND.id, asked=True, by="joe"))
    for shown in ("vm-16/snapshot-7/another", "vm-17/snapshot-7/r-1"):
        approval = to_plain(Approval(plan=shown, asked=True, by="joe"))
        acting = EndUndoableOperator(task_id="undo", found=to_plain(FOUND), approval=approval, undo=True)
        with pytest.raises(AirflowFailException, match="nobody has seen it"):
            acting.step(CONTEXT)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (answered("Reject"), "joe said no: nothing was touched"),
        ({"error": "too late", "error_type": "timeout"}, "nobody has answered within 1 day, 0:00:00, which counts as"),
    ],
)
def test_a_no_and_silence_fail_the_run_at_once_because_a_retry_would_ask_again(event, told):
    with pytest.raises(AirflowFailException, match=told):
        question().execute_complete(CONTEXT, event, shown=FOUND.id)


def test_a_run_that_says_yes_asks_nobody():
    assert question(yes=True).execute(CONTEXT) == to_plain(Approval(plan=FOUND.id, asked=False))
