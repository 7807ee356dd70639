"""Labs that start in a fraction of the time, because their code is loaded once, and their inventory is made once.

A lab is a process of its own, as those of :mod:`vmlab.testing` are. It is forked from a server that has imported the
lab. Each process of the tests has one such server.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from vmlab import cli
from vmlab.testing import Lab

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload([__name__, "vmlab.lab"])
SMALL_DISK_GIB = 0.0625
"""The size of the data disk of most labs."""


class _Forked:
    """A process that was forked; it has the methods of `subprocess.Popen` that a lab calls."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._told, telling = _FORKING.Pipe(duplex=False)
        self._process = _FORKING.Process(target=_serve, args=(arguments, telling, str(log)), daemon=True)
        self._process.start()
        telling.close()
        self.stdout: IO[str] | None = os.fdopen(os.dup(self._told.fileno()), encoding="utf-8")
        self._told.close()

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if the process still runs."""
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, sig)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code."""
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired("vmlab", timeout or 0)
        return code


def _serve(arguments: list[str], telling: Connection, log: str) -> None:
    """Be `vmlab` with some arguments, in the forked process."""
    os.dup2(telling.fileno(), 1)
    telling.close()
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 2)
    cli.main(arguments)


class ForkedLab(Lab):
    """A lab whose process is forked."""

    def launch(self, arguments: list[str], log: IO[str]) -> _Forked:
        """Fork the child."""
        return _Forked(arguments, Path(log.name))


@contextlib.contextmanager
def start_lab(folder: Path, **options: object) -> Iterator[Lab]:
    """A lab with an inventory of its own, as :func:`vmlab.testing.start_lab` starts it. It is killed at the end."""
    lab = ForkedLab(folder, options)
    lab.start()
    try:
        yield lab
    finally:
        lab.kill()


def make_unused(folder: Path) -> None:
    """Make the folder of a lab that nobody has used."""
    lab = ForkedLab(folder, {"data_disk_gib": SMALL_DISK_GIB})
    lab.start()
    lab.stop()


def copy_unused(unused: Path, folder: Path) -> None:
    """Copy the folder of a lab that nobody has used, with the holes of its disks."""
    subprocess.run(["cp", "-a", "--sparse=auto", f"{unused}/.", folder], check=True)


@contextlib.contextmanager
def small_lab(unused: Path, folder: Path) -> Iterator[Lab]:
    """A lab whose inventory is a copy. All of them are one vCenter by its ids, so a test starts no two of them."""
    copy_unused(unused, folder)
    with start_lab(folder) as lab:
        yield lab
