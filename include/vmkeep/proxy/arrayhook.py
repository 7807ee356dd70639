"""Runs the hook that the proxy's configuration names round the copy of a VM's disks.

A hook in Python runs in a child process, too, because only a process can be ended at its time limit.
"""

from __future__ import annotations

import logging
import os
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, cast

from vmkeep.errors import ArrayHookError, UsageError
from vmkeep.model.arrayhook import GROUP, ArrayHook, HookAnswer, HookFacts
from vmkeep.model.job import from_json, to_json

log = logging.getLogger(__name__)

ANSWER: Final = "VMKEEP_ANSWER"
"""Variable that names the file for the answer."""
_CHILD: Final = "vmkeep.proxy.arrayhook_child"
_KEPT: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PYTHONPATH", "TZ", "USER")
"""Variables that a hook gets. The others of a worker may hold secrets of Airflow and of the repository."""
_MOST_OUTPUT: Final = 64 << 10
_LARGEST_ANSWER: Final = 1 << 20
_GRACE: Final = 5.0
"""Seconds between asking a hook to end and killing it."""


def require_hook(hook: str) -> list[str]:
    """Return the command that runs a hook.

    :param hook: the full path of a program, maybe with arguments, or the name of an entry point.
    :raises UsageError: there is no such hook, or other users could change its program.
    """
    if not hook.startswith("/"):
        found = entry_points(group=GROUP, name=hook)
        if not found:
            raise UsageError(
                f"no array hook is called '{hook}': give a command by its full path, or install the package whose "
                f"entry point of {GROUP} has this name"
            )
        if len(found) > 1:
            places = ", ".join(sorted(entry.value for entry in found))
            raise UsageError(f"several array hooks are called '{hook}' ({places}): uninstall the packages but one")
        return [sys.executable, "-P", "-m", _CHILD, hook]
    try:
        command = shlex.split(hook)
    except ValueError as error:
        raise UsageError(f"the array hook {hook} is no command: {error}") from error
    _require_program(Path(command[0]))
    return command


def _require_program(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"the array hook {path} cannot be run: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.X_OK):
        raise UsageError(f"the array hook {path} cannot be run: it is no program that this user may execute")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"the array hook {path} can be changed by other users: let root or the worker's user own it, and run "
            f"'chmod go-w {path}'"
        )


def load_hook(name: str) -> ArrayHook:
    """Import the hook of an entry point."""
    (entry,) = entry_points(group=GROUP, name=name)
    return cast("ArrayHook", entry.load())


def run_hook(hook: str, facts: HookFacts, *, seconds: float) -> HookAnswer:
    """Run a hook to its end. Its output goes into the log.

    :param seconds: time limit. A hook that takes longer is ended, with all that it started.
    :raises ArrayHookError: the hook failed, took too long, or gave a wrong answer.
    :raises UsageError: there is no such hook.
    """
    what = f"array hook, {facts.event} the copy of VM {facts.vm.name}"
    command = require_hook(hook)
    with (
        tempfile.TemporaryDirectory(prefix="vmkeep-hook-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as told,
    ):
        answer = Path(folder) / "answer"
        told.write(to_json(facts))
        told.seek(0)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            process = subprocess.Popen(
                command,
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**kept, ANSWER: str(answer)},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise ArrayHookError(f"{what}: {command[0]} does not start: {error.strerror}") from error
        status, last = _follow(process, what, seconds)
        if status != 0:
            ended = f"signal {-status}" if status < 0 else f"exit code {status}"
            raise ArrayHookError(f"{what}: {command[0]} ended with {ended}; {last}")
        return _answer(answer, facts, what)


def _follow(process: subprocess.Popen[bytes], what: str, seconds: float) -> tuple[int, str]:
    """Log a hook's output until it ends; return its status, and the last line of its output as a phrase.

    Programs that it leaves behind are not waited for.
    """
    assert process.stdout is not None
    stream, lines = process.stdout.fileno(), _Lines(what)
    deadline = time.monotonic() + seconds
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(stream, selectors.EVENT_READ)
            waiting.register(ended, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in waiting.select(left)}
                if stream in ready:
                    if not lines.take(os.read(stream, _MOST_OUTPUT)):
                        waiting.unregister(stream)
                elif ended in ready:
                    return process.wait(), lines.last
        raise ArrayHookError(f"{what}: did not end within {seconds:g} s; it was ended; {lines.last}")
    except BaseException:
        _end(process, ended)
        raise
    finally:
        os.close(ended)
        process.stdout.close()
        lines.close()


def _end(process: subprocess.Popen[bytes], ended: int) -> None:
    """End a hook, and all of its process group. One that runs as another user, by sudo, cannot be ended from here."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(ended, selectors.EVENT_READ)
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)  # the process is not reaped, so that the group is there
            except PermissionError:
                log.warning("process %d of the array hook runs as another user, and goes on", process.pid)
                return
            waiting.select(_GRACE)
    process.poll()


class _Lines:
    """Logs output line by line, up to a limit."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rest = b""
        self._left = _MOST_OUTPUT
        self._last = ""

    @property
    def last(self) -> str:
        """The last line that is not blank, as a phrase of an error."""
        last = _shown(self._rest) or self._last
        return f"the last line of its output: {last}" if last else "it printed nothing"

    def take(self, data: bytes) -> bool:
        """Take output; return whether there was some. At the limit, the rest is left out."""
        if data and self._left > 0:
            *lines, self._rest = (self._rest + data[: self._left]).split(b"\n")
            self._left -= len(data)
            for line in lines:
                self._log(line)
            if self._left <= 0:
                self.close()
                log.warning("%s: the rest of its output is left out", self._what)
        return bool(data)

    def close(self) -> None:
        """Log a last line without an end."""
        if self._rest:
            self._log(self._rest)
            self._rest = b""

    def _log(self, line: bytes) -> None:
        text = _shown(line)
        self._last = text or self._last
        log.info("%s: %s", self._what, text)


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip()
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _answer(path: Path, facts: HookFacts, what: str) -> HookAnswer:
    """Read a hook's answer. No file is an empty answer."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # such as a pipe, to which nobody may ever write
                raise ValueError("it is no file")
            text = file.read(_LARGEST_ANSWER)
        answer = from_json(HookAnswer, text) if text.strip() else HookAnswer()
    except FileNotFoundError:
        return HookAnswer()
    except (OSError, ValueError) as error:
        raise ArrayHookError(f"{what}: its answer in ${ANSWER} cannot be read: {error}") from error
    if strangers := answer.luns.keys() - facts.luns:
        raise ArrayHookError(
            f"{what}: its answer names {', '.join(sorted(strangers))}, on which no data of the VM lies; the VM's LUNs "
            f"are {', '.join(sorted(facts.luns)) or 'not known'}"
        )
    _require_snapshots(answer, facts, what)
    return answer


def _require_snapshots(answer: HookAnswer, facts: HookFacts, what: str) -> None:
    """Return if each LUN that the answer gives can be the array's snapshot of one LUN, and is no living one of the VM.

    :raises ArrayHookError: one cannot. Its content would be of many instants, or of another disk.
    """
    living = {name.lower() for name in facts.luns}
    uses = Counter(image.lower() for image in answer.luns.values())
    for name, image in answer.luns.items():
        if image.lower() in living or uses[image.lower()] > 1:
            why = "is a LUN of the VM itself" if image.lower() in living else "stands for another LUN, too"
            raise ArrayHookError(f"{what}: its answer gives {image} as the snapshot of {name}, but {image} {why}")
