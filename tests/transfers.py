"""Transfers whose child processes are forked from a server that has imported their code.

A transfer starts ``python -m vmkeep.transfer``. The imports of that process take it a fifth of a second of processor
time, and a backup starts three such processes. Tests of what backups and restores do fork them instead. Tests of the
processes themselves start them as the product does: ``integration/transfer_child``, ``faults/test_transfer_deaths.py``.

The server lets a process between fork the child, and that process ends at once. So the child is an orphan, and the
kernel gives it to the test's process, which waits for it and reads its processor time as of any child.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

COMMAND: Final = [sys.executable, "-P", "-m", "vmkeep.transfer"]
_READ_AT_A_START: Final = ("PYTHON", "LD_PRELOAD", "MALLOC_", "GLIBC_")
"""Beginnings of the names of variables that only a start reads. The path of libraries is none of them, because a
library that is loaded here is named by its whole path."""
_TAKE_ORPHANS: Final = 36
"""``PR_SET_CHILD_SUBREAPER``."""
_MOST: Final = 1 << 16
"""Bytes of the longest message to the server."""
_HIGH: Final = 500
"""No descriptor of a child has such a number when it starts."""
_LOADED: Final = (
    "vmkeep.transfer.child", "vmkeep.transfer.copytask", "vmkeep.transfer.writetask", "vmkeep.vddk.driver",
)  # fmt: skip


class _Child:
    """A forked child, with as much of `subprocess.Popen` as a transfer uses."""

    def __init__(self, pid: int, streams: Sequence[int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        modes = zip(streams, ("wb", "rb", "rb"), strict=True)
        self.stdin, self.stdout, self.stderr = (os.fdopen(descriptor, mode) for descriptor, mode in modes)

    def kill(self) -> None:
        """End it as a crash would."""
        os.kill(self.pid, signal.SIGKILL)


class Server:
    """The process from which children are forked. It is started for the first of them."""

    PIPE = subprocess.PIPE

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._prctl = ctypes.CDLL(None).prctl
        self._usual = _read_at_a_start(os.environ)

    def Popen(self, command: list[str], *, env: Mapping[str, str], pass_fds: Sequence[int], **options: Any) -> Any:
        """Fork a child of a transfer, or start it as ever if a test has changed what only a start reads."""
        if command != COMMAND or _read_at_a_start(env) != self._usual:
            return subprocess.Popen(command, env=env, pass_fds=pass_fds, **options)
        (stdin, to_child), (from_child, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
        given = {0: stdin, 1: stdout, 2: stderr, **{number: number for number in pass_fds}}
        asked = {"environment": dict(env), "folder": str(Path.cwd()), "numbers": [*given]}
        try:
            pid = self._fork(json.dumps(asked).encode(), [*given.values()])
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        return _Child(pid, (to_child, from_child, errors))

    @property
    def is_idle(self) -> bool:
        """Whether it has not been started, because nobody has asked for a child."""
        return self._line is None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Fork the children of transfers that this process starts meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vmkeep.transfer.child_process.subprocess", self)
            yield

    def stop(self) -> None:
        """End the server. Its children are none of its own, and go on."""
        if self._line is not None and self._process is not None:
            self._line.close()
            self._process.wait()

    def _fork(self, asked: bytes, descriptors: Sequence[int]) -> int:
        with self._one_at_a_time:
            line = self._line or self._start()
            self._prctl(_TAKE_ORPHANS, 1, 0, 0, 0)
            try:
                socket.send_fds(line, [asked], descriptors)
                return int(line.recv(_MOST))
            finally:
                self._prctl(_TAKE_ORPHANS, 0, 0, 0, 0)

    def _start(self) -> socket.socket:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        return self._line


def _read_at_a_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_A_START)}


def _serve(line: socket.socket) -> None:
    """Fork a child for each message, until there is nobody who could send one."""
    for name in _LOADED:
        import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a process with threads must not be forked"
    gc.freeze()
    while True:
        text, descriptors, _, _ = socket.recv_fds(line, _MOST, 16)
        if not text:
            return
        told, telling = os.pipe()
        between = os.fork()
        if not between:
            _fork_child(json.loads(text), descriptors, telling)
        os.waitpid(between, 0)
        line.send(os.read(told, 64))  # after the wait, because the child is the test's by then
        for descriptor in (told, telling, *descriptors):
            os.close(descriptor)


def _fork_child(asked: dict[str, Any], descriptors: list[int], telling: int) -> None:
    """Be the process between."""
    parent = os.getpid()
    child = os.fork()
    if child:
        os.setpgid(child, child)  # here, because the test may ask for its group at once
        os.write(telling, str(child).encode())
        os._exit(0)
    while os.getppid() == parent:  # because the child remembers its parent
        time.sleep(0.001)
    _be_child(asked, descriptors)


def _be_child(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Be ``python -m vmkeep.transfer``, with some environment, folder and descriptors."""
    status = 1
    try:
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        away = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in descriptors]
        os.closerange(3, _HIGH)
        for descriptor, number in zip(away, asked["numbers"], strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        gc.set_threshold(50_000)
        from vmkeep.transfer.child import main

        status = main()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the process ends here
        traceback.print_exc()  # as a process that ends by an error would
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
