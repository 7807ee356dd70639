"""The little of Airflow's REST API (version 2) that the demo and the tests use."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

_TRIES = 3
_NOTING = "INSERT INTO log "
"""The SQL in the answer to a request that Airflow could not note in its audit log."""
FINAL = frozenset({"success", "failed"})


class ApiError(RuntimeError):
    """The API refused a call."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"Airflow's API answered {status}: {text[:500]}")
        self.status = status
        self.text = text


class AirflowApi:
    """A logged-in client."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self._url = url
        self._token: str | None = None
        self._token = self.call("POST", "/auth/token", {"username": user, "password": password})["access_token"]

    @property
    def token(self) -> str:
        """The token that goes with each call."""
        assert self._token is not None
        return self._token

    def call(self, method: str, path: str, body: object | None = None) -> Any:
        """Send one request and return the answer's JSON.

        It is sent again if SQLite was locked when Airflow noted it, because Airflow notes a request before it obeys it.

        :raises ApiError: for any status from 400 up.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._send(method, path, body)
            except ApiError as error:
                if error.status != 500 or _NOTING not in error.text:
                    raise
        return self._send(method, path, body)

    def _send(self, method: str, path: str, body: object | None) -> Any:
        request = urllib.request.Request(self._url + path, method=method)  # noqa: S310 - our own http URL
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data=data, timeout=300) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from error
        return json.loads(text) if text else None

    def connect(self, conn_id: str, fields: Mapping[str, object]) -> None:
        """Create a connection."""
        given = {"extra": json.dumps(fields["extra"])} if "extra" in fields else {}
        self.call("POST", "/api/v2/connections", {"connection_id": conn_id, **fields, **given})

    def knows(self, dag_id: str) -> bool:
        """Return whether the DAG has been parsed and registered."""
        try:
            return not self.call("GET", f"/api/v2/dags/{dag_id}")["is_paused"]
        except ApiError as error:
            if error.status == 404:
                return False
            raise

    def trigger(self, dag_id: str, **conf: object) -> str:
        """Start a run with these params and return its run id."""
        run = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run."""
        run: dict[str, Any] = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{_quoted(run_id)}")
        return run

    def state(self, dag_id: str, run_id: str) -> str:
        """Return a run's state."""
        return str(self.run(dag_id, run_id)["state"])

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Let tasks of a run be done again, and none but them."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as a success, as failed or as skipped, by hand."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}"
        self.call("PATCH", path, {"new_state": state})

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances?limit=200"
        instances: list[dict[str, Any]] = self.call("GET", path)["task_instances"]
        return instances

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, key: str = "return_value") -> Any:
        """Return what a task returned, or left under another key."""
        path = (
            f"/api/v2/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
            f"?map_index={map_index}&deserialize=false"
        )
        value = self.call("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def wait(
        self, dag_id: str, run_id: str, *, seconds: float, tick: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> str:
        """Follow a run until it has ended and return its state; ``tick`` sees its tasks once a second."""
        end = time.monotonic() + seconds
        while (state := self.state(dag_id, run_id)) not in FINAL:
            if time.monotonic() > end:
                tasks = ", ".join(f"{task['task_id']} {task['state']}" for task in self.tasks(dag_id, run_id))
                raise TimeoutError(f"{dag_id} {run_id} is still {state} after {seconds:.0f} s: {tasks}")
            if tick is not None:
                tick(self.tasks(dag_id, run_id))
            time.sleep(1.0)  # because each look costs the API server 40 ms of processor time
        return state

    def log(self, dag_id: str, task: dict[str, Any]) -> str:
        """Return the log of a task instance's last try, one line per event."""
        path = (
            f"/api/v2/dags/{dag_id}/dagRuns/{_quoted(task['dag_run_id'])}/taskInstances/{task['task_id']}"
            f"/logs/{max(1, task['try_number'])}?map_index={task['map_index']}"
        )
        return "\n".join(_line(entry) for entry in self.call("GET", path)["content"])


def _line(entry: Any) -> str:
    """Return one event of a log, with the errors it carries."""
    if isinstance(entry, str):
        return entry
    text = str(entry.get("event", ""))
    details = entry.get("error_detail") or ()
    return "\n".join([text, *(f"  {detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details)])


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
