"""Waits for one child process, and keeps the CPU seconds that the kernel has counted for it.

The kernel tells them only to whoever waits for the process, and ``Popen`` drops them. So nobody else may wait for it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Final

_LOOK: Final = 0.01
"""Seconds between two looks at a process that is about to end."""


class WaitedProcess:
    """A child process that is waited for here alone. Any thread or signal handler may call its methods."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._looking = threading.Lock()
        self.cpu_seconds: float | None = None
        """CPU seconds of the process, and of those that it has waited for itself; ``None``: it has not ended."""

    def ended(self) -> bool:
        """Return whether the process has ended."""
        # A signal handler may interrupt a look of its own thread, so it must not wait for the end of that look.
        if self._process.returncode is None and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._process.returncode is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process. Return whether it came in time."""
        end = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        if not self.ended():
            self._process.kill()

    def _look(self) -> None:
        if self._process.returncode is not None:
            return  # because another thread has just seen the end
        try:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
        except ChildProcessError:  # because this process was told to ignore the ends of its children
            self._process.poll()
            return
        if pid:
            self.cpu_seconds = used.ru_utime + used.ru_stime
            self._process.returncode = os.waitstatus_to_exitcode(status)
