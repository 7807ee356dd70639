"""Child processes that never outlive their parent and never die unnoticed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from demo.guard import guard

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a demo: Ctrl-C, ``make demo-stop``, the end of its terminal."""


class ComponentDiedError(RuntimeError):
    """A process that has to run for the whole demo ended by itself."""


class Component:
    """A process with a log file of its own.

    It leads a process group, so that its own children go with it, and a guard ends that group should this process die.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, pipe: bool = False) -> subprocess.Popen[bytes]:
        """Start it; its output goes to the log file, or its standard output to a pipe that the caller reads."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, _uninterrupted():
            self._process = subprocess.Popen(
                self.command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                start_new_session=True,
            )
            guard().watch(self.pid)
        return self._process

    def check(self) -> None:
        """Raise if it is no longer running.

        :raises ComponentDiedError: with its log's path and last lines.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ComponentDiedError(
                f"{self.name} ended by itself (exit code {self._process.returncode}); its log is {self.log}, "
                f"which ends with:\n{tail(self.log)}"
            )

    def terminate(self) -> None:
        """Ask it to end; does not wait."""
        if self.running:
            self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children at once."""
        if self._process is not None:
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            guard().release(self.pid)

    def stop(self, *, patience: float = 10.0) -> None:
        """Ask it to end, wait, and end it and what is left of its group if it does not."""
        if self._process is None:
            return
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=patience)
        self.kill()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back what ends this process while another is started, so that none runs that nobody knows of.

    The one that is started takes these signals as usual, even where this one found them ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def stop_all(components: Sequence[Component], *, patience: float = 10.0) -> None:
    """Stop all of them at once; the time they take is that of the slowest."""
    for component in components:
        component.terminate()
    end = time.monotonic() + patience
    for component in reversed(components):
        component.stop(patience=max(0.1, end - time.monotonic()))


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text)
