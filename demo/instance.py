"""Keeps to one demo at a time, and ends it from another terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DemoRunsError(RuntimeError):
    """A demo runs already."""


class Instance:
    """A file that the running demo holds locked, with its process id in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the one demo.

        :raises DemoRunsError: another one runs.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DemoRunsError(f"a demo runs already (process {self._pid()}): make demo-stop ends it") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def stop(self, patience: float = 120.0) -> bool:
        """End the running demo and wait for it; return whether there was one."""
        if not self._held():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGTERM)
        end = time.monotonic() + patience
        while self._held():
            if time.monotonic() > end:
                raise TimeoutError(f"the demo (process {self._pid()}) did not end within {patience:.0f} s")
            time.sleep(0.1)
        return True

    def _pid(self) -> int:
        return int(self._path.read_text())

    def _held(self) -> bool:
        try:
            with self._path.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False
