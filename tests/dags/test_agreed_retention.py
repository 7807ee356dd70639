"""Where a second person is demanded, maintenance deletes no point by a rule that no two people have agreed on."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from tests.dags.test_questions import CONTEXT, answered, answered_by, instance
from tests.dags.test_upkeep_operators import add_point
from tests.dags.test_upkeep_operators import location as location  # a fixture
from vmkeep.repository import open_repository
from vmkeep_airflow.operators.approve_prune import ApprovePruneOperator
from vmkeep_airflow.operators.prune import PruneOperator


@pytest.fixture
def asked(location, monkeypatch, tmp_path):
    """Demand a second person. Return the last question that was put."""
    question = {}
    monkeypatch.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", "True")
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path / "no policies"))
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **put: question.update(put))
    retain(location, monkeypatch, "last 4")
    return question


def retain(location, monkeypatch, rule):
    fields = {"conn_type": "vmkeep", "host": location, "extra": {"retention": rule}}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))


def approve(**rules):
    return ApprovePruneOperator(task_id="approve", **rules)


def ask(run="manual__1", **rules):
    """Put the question. Return the id of the rules; ``None``: nobody has to be asked."""
    try:
        approve(**rules).execute({**CONTEXT, "ti": instance(run)})
    except TaskAwaitingInput as waiting:
        return waiting.kwargs["shown"]
    return None


def say_yes(shown, run="manual__1", **user):
    event = answered_by(**user) if user else answered("Approve")
    approve().execute_complete({**CONTEXT, "ti": instance(run)}, event, shown=shown)


def prune(run="manual__1", **rules):
    acting = PruneOperator(task_id="prune", **rules)
    return acting.step({**CONTEXT, "ti": instance(run)})


def left(location):
    with open_repository(location) as repository:
        return len(list(repository.point_refs()))


def test_points_go_by_a_yes_and_the_next_nights_by_the_agreed_rules_without_a_question(location, asked, monkeypatch):
    with pytest.raises(AirflowFailException, match="the repository knows of no yes in this run"):
        prune()
    shown = ask()
    assert asked["subject"] == "Delete restore points?"
    assert "2 restore points of 1 VM would be deleted by these rules" in asked["body"]
    assert "the repository: last 4 (UTC), nobody has agreed to it yet" in asked["body"]
    with pytest.raises(AirflowFailException, match="jane has started this run"):
        say_yes(shown, id="7", name="Jane")
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune()
    assert left(location) == 6

    say_yes(shown)
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune("manual__2")  # it was said in another run
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune(keep={"last": 1})  # and to other rules
    assert prune()["done"]["points_forgotten"] == 2
    assert left(location) == 4

    assert ask("scheduled__2") is None
    retain(location, monkeypatch, "last 5")
    assert ask("scheduled__3") is None, "because a longer retention loses nothing"
    retain(location, monkeypatch, "last 3")
    assert ask("scheduled__4") is not None
    assert "the repository: last 3 (UTC), agreed was last 4 (UTC)" in asked["body"]
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune("scheduled__4")


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"triggering_user_name": None}, "nobody who is known by name has started this run"),
        ({"clear_number": 1}, "this run was cleared"),
    ],
)
def test_a_run_without_a_known_first_person_takes_nobodys_yes(location, asked, run, told):
    shown = ask()
    of_nobody = SimpleNamespace(**{**vars(CONTEXT["dag_run"]), **run})
    context = {**CONTEXT, "ti": instance("manual__1"), "dag_run": of_nobody}
    with pytest.raises(AirflowFailException, match=f"{told}.*start it by hand; another person answers"):
        approve().execute(context)
    with pytest.raises(AirflowFailException, match=told):  # because it was put before this rule was there
        approve().execute_complete(context, answered_by(id="2", name="anna"), shown=shown)
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune()
    assert left(location) == 6


def test_a_yes_is_used_up_by_the_deed_so_that_nobody_repeats_it_alone(location, asked):
    say_yes(ask(keep={"last": 5}))
    assert prune(keep={"last": 5})["done"]["points_forgotten"] == 1
    add_point(location, 6)
    with pytest.raises(AirflowFailException, match="no yes in this run that has not been used"):
        prune(keep={"last": 5})  # the task is cleared, or a run of the same id is started again
    assert left(location) == 6


def test_a_rule_for_one_run_is_agreed_for_that_run_only(location, asked):
    shown = ask(keep={"last": 5})
    assert "A yes is for this run only." in asked["body"]
    say_yes(shown)
    assert prune(keep={"last": 5})["done"]["points_forgotten"] == 1
    assert ask("manual__2", keep={"last": 4}) is not None
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        prune("scheduled__2")


def test_a_longer_retention_that_a_prune_went_by_is_given_up_only_after_a_yes(location, asked, monkeypatch):
    retain(location, monkeypatch, "last 5")
    say_yes(ask())
    prune()
    prune("manual__2", keep={"last": 6})  # a rule for one run is in force no longer
    assert ask("manual__2") is None
    retain(location, monkeypatch, "last 5, yearly 9")
    prune("scheduled__3")
    retain(location, monkeypatch, "last 5")
    assert ask("scheduled__4") is None, "because none goes yet"
    retain(location, monkeypatch, "last 6")
    prune("scheduled__4")
    retain(location, monkeypatch, "last 4")
    assert ask("manual__5") is not None
    assert "agreed was last 5 (UTC), and since then it was last 5, yearly 9 (UTC); last 6 (UTC)" in asked["body"]


def test_nobody_is_asked_by_a_plan_or_where_no_second_person_is_demanded(location, asked, monkeypatch):
    assert ask(plan_only=True) is None
    assert prune(plan_only=True)["plan"]["points_to_forget"] == 2
    monkeypatch.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", "")
    assert ask() is None
    assert prune()["done"]["points_forgotten"] == 2


def test_no_maintenance_removes_the_agreement(location, asked, monkeypatch):
    from datetime import timedelta

    from vmkeep.clock import now
    from vmkeep.maintenance.margins import Margins
    from vmkeep.maintenance.tidy import remove_dead_runs

    say_yes(ask())
    prune()
    say_yes(ask("manual__2", keep={"last": 3}), "manual__2")
    with open_repository(location) as repository:
        removed = remove_dead_runs(repository, Margins(), time=now() + timedelta(days=400))
    assert removed >= 1, "a yes that nobody has used goes"
    assert ask("scheduled__2") is None
