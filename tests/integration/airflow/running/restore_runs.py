"""Runs of a restore in a running Airflow: what a person does to them in the web page, and what is waited for."""

from __future__ import annotations

import contextlib
import time
import urllib.parse

from demo.api import FINAL, AirflowApi, ApiError
from tests.integration.airflow.running.watched import WatchedApi
from tests.patience import HANG


def quoted(run: str) -> str:
    """Return a run's id as it stands in a path."""
    return urllib.parse.quote(run, safe="")


def clear(api: AirflowApi, run: str, *tasks: object) -> None:
    """Clear some tasks, as the web page does with no box ticked, or the whole run."""
    if not tasks:
        api.call("POST", f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}/clear", {"dry_run": False})
        return
    body = {
        "dry_run": False, "dag_run_id": run, "task_ids": list(tasks), "only_failed": False, "reset_dag_runs": True,
        "include_downstream": False, "include_upstream": False,
    }  # fmt: skip
    api.call("POST", "/api/v2/dags/vm_restore/clearTaskInstances", body)


def answer(api: WatchedApi, run: str, option: str) -> None:
    """Answer the question of a run, and again where it is asked again.

    An answer that comes before Airflow has seen the end of the process that asked is lost, and the task tried again.
    """
    while not answered(api, run, option, asked=int(str(seen(api, run, "approve")["try_number"]))):
        pass


def answered(api: WatchedApi, run: str, option: str, *, asked: int) -> bool:
    """Answer the question that the task asked at one try. Return False if it was lost, and a later try asks again."""
    end = time.monotonic() + HANG
    while (found := seen(api, run, "approve"))["state"] not in {"success", "failed"}:
        assert time.monotonic() < end, found
        if found["state"] == "awaiting_input":
            if int(str(found["try_number"])) > asked:
                return False
            with contextlib.suppress(ApiError):  # answered already
                api.call(
                    "PATCH",
                    f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}/taskInstances/approve/-1/hitlDetails",
                    {"chosen_options": [option], "params_input": {}},
                )
        time.sleep(0.5)
    return True


def blame(api: AirflowApi, run: str) -> str:
    """Return the logs of the tasks by which a run did not end as a success."""
    fine = {"success", "skipped", "upstream_failed"}
    wrong = [one for one in api.tasks("vm_restore", run) if one["state"] not in fine]
    return "\n".join(f"{one['task_id']} {one['state']}:\n{api.log('vm_restore', one)[-4000:]}" for one in wrong)


def task(api: AirflowApi, run: str, task_id: str) -> dict[str, object]:
    """Return one task of a run, as it is now."""
    return next(one for one in api.tasks("vm_restore", run) if one["task_id"] == task_id)


def seen(api: WatchedApi, run: str, task_id: str) -> dict[str, object]:
    """Return the id, map index, state and try of one task of a run, as they are now."""
    return next(one for one in api.seen("vm_restore", run) if one["task_id"] == task_id)


def wait_for(api: WatchedApi, run: str, task_id: str, state: str, *, tries: int = 1) -> dict[str, object]:
    """Return a task of a run once it is in a state, at that try or a later one; fail once it cannot be any more."""
    end = time.monotonic() + HANG
    while True:
        ended = api.seen_state("vm_restore", run) in FINAL
        found = seen(api, run, task_id)
        if found["state"] == state and int(str(found["try_number"])) >= tries:
            return found
        assert not ended, [(one["task_id"], one["state"]) for one in api.seen("vm_restore", run)]
        assert time.monotonic() < end, found
        time.sleep(0.1)
