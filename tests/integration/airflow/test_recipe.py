"""The recipe "restore, anonymise, test" works as its page says, up to the two DAGs that it starts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException

from tests.integration.airflow.conftest import dag_of

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

FILE = Path(__file__).parents[3] / "docs" / "examples" / "restore_anonymise_test.py"
COPY = "drill-web01"


@pytest.fixture(scope="module")
def recipe() -> Any:
    bag = DagBag(str(FILE))
    assert bag.import_errors == {}
    return bag.dags["restore_anonymise_test"]


def test_its_page_explains_every_task_and_every_task_ends(recipe):
    for task in recipe.tasks:
        assert f"`{task.task_id}`" in recipe.doc_md
        assert (task.execution_timeout or task.partial_kwargs["execution_timeout"]).total_seconds() > 0


def test_the_fields_that_it_gives_to_other_dags_are_theirs(recipe):
    tested = {"vm": COPY, "moref": "vm-9"}
    for task_id in ("backup", "export"):
        task = recipe.task_dict[task_id]
        (make,) = task.expand_input.value["conf"].callables
        assert set(make(tested)) <= set(dag_of(task.partial_kwargs["trigger_dag_id"]).params)


@pytest.mark.usefixtures("web01_point")
def test_a_copy_is_made_changed_inside_tested_and_removed_and_the_original_is_never_asked(
    recipe, connections, control, monkeypatch
):
    """Only the two DAGs that the recipe starts are left out, because tests of their own run them."""
    guest = {"conn_type": "vmkeep_guest", "login": "backup", "password": "pw"}
    for name, fields in (connections | {"guest_default": guest}).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    ti = SimpleNamespace(
        dag_id=recipe.dag_id, run_id="manual__1", try_number=1, max_tries=0, task_id="", xcom_push=lambda *_, **__: None
    )
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(clear_number=0)}
    recovering = recipe.task_dict["recover"]
    recovering.plan = recovering.plan.replace("app01", "web01").replace("network: Isolated", "network: none")
    recovering.plan = recovering.plan.replace("{tools: true, within: 900}", "{tools: false}")

    (outcome,) = recovering.execute(context)
    for vm in ("web01", COPY):
        control.call("POST", "/guest/user", {"vm": vm, "user": "backup", "password": "pw"})
        control.call("POST", "/guest/tools", {"vm": vm, "running": True, "address": "192.168.10.5"})
    control.call("POST", "/guest/program", {"vm": COPY, "match": "/opt/test/anonymise", "output": "7 names replaced"})
    control.call("POST", "/guest/program", {"vm": COPY, "match": "is-anonymous", "exit": 1, "output": "a name is left"})
    anonymised = mapped(recipe, "anonymise", outcome).execute(context)
    with pytest.raises(AirflowException, match="exit code 1; it says: a name is left"):
        mapped(recipe, "test", outcome).execute(context)
    removed = recipe.task_dict["clean_up"].execute(context)

    assert (anonymised["vm"], anonymised["output"].strip()) == (COPY, "7 names replaced")
    assert removed == {"vms_removed": 1}
    assert COPY not in {vm["name"] for vm in control.call("GET", "/state")["vms"]}
    told = control.call("GET", "/guest/events?vm=web01")
    assert [event for event in told["events"] if "/opt/test" in event.get("command", "")] == []


def mapped(recipe: Any, task_id: str, outcome: Any) -> Any:
    """The operator of one mapped task."""
    task = recipe.task_dict[task_id]
    names = ("command", "guest", "seconds", "vsphere_conn_id", "repository_conn_id")
    given = {name: task.partial_kwargs[name] for name in names if name in task.partial_kwargs}
    return task.operator_class(task_id=task_id, outcome=outcome, **given)
