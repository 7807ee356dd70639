"""Airflow's four components, each a process of its own, as ``docker-compose.yaml`` runs them too."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from demo.airflow_home import AIRFLOW, AirflowHome
from demo.processes import Component, stop_all

COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": ("airflow", "api-server"),
    "scheduler": ("airflow", "scheduler"),
    "dag-processor": ("airflow", "dag-processor"),
    "triggerer": ("airflow", "triggerer"),
}
"""The processes of Airflow, wherever they run."""

_PATIENCE = {"api-server": 10}
"""Seconds for which a component waits until SQLite can be written. Two threads of the API server may wait for each
other: one notes a request in the event loop, and the other has begun to write. It answers nothing for so long."""
_NO_LOG_SERVER = {"scheduler", "triggerer"}
"""They would serve their logs on a fixed port; here the API server reads the files itself."""


class AirflowProcesses:
    """A running Airflow.

    :param without: the components that are left out.
    """

    def __init__(self, home: AirflowHome, *, without: Collection[str] = ()) -> None:
        self.home = home
        self.components = {name: self._component(name) for name in COMMANDS if name not in without}

    def _component(self, name: str) -> Component:
        command = [AIRFLOW, *COMMANDS[name][1:]]
        if name in _NO_LOG_SERVER:
            command.append("--skip-serve-logs")
        log = self.home.folder / "components" / f"{name}.log"
        env = self.home.environment(patience=_PATIENCE.get(name, 60))
        return Component(f"Airflow's {name}", command, env=env, log=log)

    def start(self) -> None:
        """Start all of them; returns at once."""
        for component in self.components.values():
            component.start()

    def restart(self, name: str) -> None:
        """Start one component anew, after it was stopped or killed."""
        self.components[name] = self._component(name)
        self.components[name].start()

    def check(self) -> None:
        """Raise if one of them has died."""
        for component in self.components.values():
            component.check()

    def ready(self) -> bool:
        """Return whether the API server answers."""
        try:
            with urllib.request.urlopen(f"{self.home.url}/api/v2/version", timeout=30) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def wait_ready(self, seconds: float = 300.0) -> None:
        """Return once the API server answers."""
        end = time.monotonic() + seconds
        while not self.ready():
            self.check()
            if time.monotonic() > end:
                raise TimeoutError(f"Airflow's API server did not answer within {seconds:.0f} s")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop all of them."""
        stop_all(list(self.components.values()))


@contextmanager
def running_airflow(home: AirflowHome, *, without: Collection[str] = ()) -> Iterator[AirflowProcesses]:
    """Start Airflow, and stop it whatever happens."""
    processes = AirflowProcesses(home, without=without)
    try:
        processes.start()
        yield processes
    finally:
        processes.stop()
