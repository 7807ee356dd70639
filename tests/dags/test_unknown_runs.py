"""Only where Airflow says that it has no such run does anything but Airflow decide over what the run left."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from vmkeep.errors import TransientError
from vmkeep_airflow.dagruns import DagRunId, has_ended, owner_text, state_of

OWNER = DagRunId(dag_id="vm_restore", run_id="r")


def in_a_task(status: int | None) -> AirflowRuntimeError:
    detail = {"message": "connection refused"} if status is None else {"status_code": status, "message": "404 or so"}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


def in_a_test_run(status: int) -> ServerResponseError:
    request = httpx.Request("GET", "http://api/404")
    return ServerResponseError("404 or so", request=request, response=httpx.Response(status, request=request))


def task_instance(error: Exception):
    def get_dagrun_state(**_run):
        raise error

    return SimpleNamespace(dag_id="snapshot_sweep", run_id="own", get_dagrun_state=get_dagrun_state)


@pytest.mark.parametrize("error", [in_a_task(404), in_a_test_run(404)], ids=["task", "test run"])
def test_a_run_that_airflow_does_not_have_is_unknown(error):
    assert state_of(task_instance(error), OWNER) is None
    assert has_ended(task_instance(error))(owner_text(OWNER)) is None


@pytest.mark.parametrize(
    "error",
    [in_a_task(500), in_a_task(None), AirflowRuntimeError(ErrorResponse()), in_a_test_run(503)],
    ids=["500", "no answer", "nothing told", "test run, 503"],
)
def test_an_api_server_that_does_not_answer_makes_no_run_unknown(error):
    with pytest.raises(TransientError, match="vm_restore"):
        state_of(task_instance(error), OWNER)
