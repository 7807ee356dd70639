"""Runs a transfer in a child process: starts it, follows it, cancels it, and never leaves it behind.

Only the child loads the driver's library, such as VDDK. It has its own library path and can be killed, and a crash of
the C library costs only one try. All callbacks and log records come on the thread that waits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import IO, Any, Final, Generic, TypeVar

from vmkeep.blackbox import BlackBox
from vmkeep.blobs.wrappers import parse_rates
from vmkeep.errors import CancelledError, DeadlineError, TransferError, UnreachableError, VddkError, VmKeepError
from vmkeep.model.diskaccess import CallTiming, Launch
from vmkeep.model.job import Progress, from_plain, to_plain
from vmkeep.model.site import Site
from vmkeep.model.transport import AccessUsed
from vmkeep.transfer.drivers import DriverChoice, choose_driver
from vmkeep.transfer.new_rate import encode_rate
from vmkeep.transfer.protocol import CANCEL, ChildRequest, Lines, rebuild_error
from vmkeep.transfer.renewal import Renewer
from vmkeep.transfer.table import render_timings
from vmkeep.transfer.waited_process import WaitedProcess

log = logging.getLogger(__name__)
T = TypeVar("T")

SILENCE: Final = 180.0
"""Seconds without any event, not even a sign of life, after which the child is killed."""
GRACE: Final = 15.0
"""Seconds between asking the child to stop and killing it. The child's own grace is shorter."""
_LISTEN: Final = 1.0
"""Seconds of one look at a child's streams."""
LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
"""Variable of the environment that the child gets from its driver."""
_LINES: Final = 40
"""Number of the library's last lines that a failure shows."""
_FATAL: Final = "Fatal Python error"
_SIGNALS: Final = {
    "SIGKILL": " (out of memory, or killed by someone)",
    "SIGALRM": " (the disk driver did not start in time)",
    "SIGSEGV": " (a crash of the C library)",
    "SIGABRT": " (the C library gave up)",
}


class RunningTransfer(Generic[T]):
    """A child process at work. Use it as a context manager, because leaving always ends the child."""

    def __init__(
        self,
        site: Site,
        request: ChildRequest,
        kind: type[T],
        *,
        title: str,
        on_progress: Callable[[Progress], None],
        choice: DriverChoice | None = None,
    ) -> None:
        """Start the child.

        :param choice: the disk driver; ``None``: the one that is chosen for the site.
        """
        self._kind = kind
        self._title = title
        self._on_progress = on_progress
        self._outcome: T | VmKeepError | None = None
        self._last_words = ""
        self._cancelled = False
        self._silent = 0.0
        level = logging.INFO if choice is None else logging.DEBUG  # a driver that was chosen before has been told of
        choice = choice or choose_driver(site)
        self._launch = choice.launch
        log.log(level, "%s: by %s (%s)", title, choice.launch.title, choice.reason)
        self._black_box = BlackBox.make()
        self._process = subprocess.Popen(
            # -P, so that no module in the current folder replaces one of ours.
            [sys.executable, "-P", "-m", "vmkeep.transfer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(choice.launch),
            pass_fds=(self._black_box.descriptor,),
            # The child has its own process group, so that Ctrl-C reaches only the parent, which then decides.
            process_group=0,
        )
        self._waited = WaitedProcess(self._process)
        launched = {"driver": choice.place, "launch": to_plain(choice.launch), "access": to_plain(_used(choice))}
        self._say(replace(request, black_box=self._black_box.descriptor, **launched).encode())
        self._renewer = Renewer(site.aws, self._say)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float | None:
        """CPU seconds of the child and of its own children; ``None``: it has not ended."""
        return self._waited.cpu_seconds

    def wait(self) -> T:
        """Follow the child to its end. Return its result or raise its error. Another call gives the same again."""
        if self._outcome is None:
            self._follow()
            self._outcome = self._outcome or self._death()
            self._tell_library_lines()
        if isinstance(self._outcome, VmKeepError):
            raise self._outcome
        return self._outcome

    def change_rate(self, limit_rate: str | None) -> None:
        """Let the transfer keep to another limit for reading and writing the repository. Any thread may call it.

        :param limit_rate: as ``Site.limit_rate``; ``None``: there is no limit any more.
        :raises UsageError: the limit does not parse. Then nothing has changed.
        """
        if limit_rate:
            parse_rates(limit_rate)
        self._say(encode_rate(limit_rate))

    def cancel(self) -> None:
        """Stop the child and wait until it is gone, which takes seconds. Any thread or signal handler may call it."""
        self._cancelled = True
        self._say(CANCEL)
        self._reap()

    def __enter__(self) -> RunningTransfer[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._waited.ended():
            self.cancel()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._black_box.close()

    def _reap(self) -> None:
        """Wait for the child's end, and kill it if it does not end."""
        if self._waited.wait(GRACE):
            return
        self._waited.kill()
        if not self._waited.wait(GRACE):
            log.error("%s: process %d cannot be killed; it is stuck in the kernel", self._title, self._process.pid)

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # because the death of a child shows on its other streams
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._silent = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, Lines(self._on_event))
            selector.register(self._process.stderr, selectors.EVENT_READ, Lines(self._on_stderr))
            while selector.get_map():
                # Ask this first, because only data that is missing after the child's end never comes.
                gone = self._waited.ended()
                ready = selector.select(0 if gone else _LISTEN)
                self._renewer.poll()
                for key, _ in ready:
                    self._read(selector, key)
                if not ready and gone:
                    break  # because a program that the child started may still hold its streams
                if not ready and self._silent_for_long():
                    break
        self._reap()

    def _read(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        stream: IO[bytes] = key.fileobj  # type: ignore[assignment]  # registered as such just above
        data = os.read(stream.fileno(), 1 << 16)
        key.data.feed(data)
        if not data:
            selector.unregister(stream)

    def _silent_for_long(self) -> bool:
        """Count one more look without a sign of life. Kill a child that has given none for too long."""
        self._silent += _LISTEN  # not by the clock, which goes on while this process is stopped
        if self._silent < SILENCE:
            return False
        self._waited.kill()
        if self._outcome is None:
            self._outcome = DeadlineError(waiting_for=f"a sign of life from {self._title}", seconds=SILENCE)
        return True

    def _on_stderr(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if not text:
            return
        log.info("%s: %s", self._title, text)
        if not self._last_words.startswith(_FATAL):  # because the stacks that follow it tell less
            self._last_words = text

    def _on_event(self, line: bytes) -> None:
        self._silent = 0.0
        try:
            event = json.loads(line)
            value = self._parse(event)
        except (ValueError, KeyError, TypeError) as error:
            self._outcome = TransferError(f"{self._title} broke its protocol: {error}")
            return
        match value:
            case Progress():
                self._on_progress(value)
            case logging.LogRecord():
                logger = logging.getLogger(value.name)
                if logger.isEnabledFor(value.levelno):
                    logger.handle(value)
            case _CallTable():
                for text in value.lines:
                    log.info("%s", text)
            case None:
                pass
            case _:
                self._outcome = value

    def _parse(self, event: dict[str, Any]) -> Any:
        match event["event"]:
            case "progress":
                return from_plain(Progress, event["progress"])
            case "log":
                self._last_words = str(event["text"])
                return _record(event)
            case "timings":
                rows = [from_plain(CallTiming, row) for row in event["rows"]]
                return _CallTable(render_timings(rows, self._launch.library))
            case "result":
                return from_plain(self._kind, event["value"])
            case "error":
                return rebuild_error(event)
            case _:
                return None

    def _death(self) -> VmKeepError:
        if self._cancelled:
            return CancelledError(f"{self._title} was cancelled")
        code = self._process.returncode or 0
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with status {code}"
        words = f"; its last words: {self._last_words}" if self._last_words else ""
        lines = self._black_box.lines()
        said = f"; {self._launch.title} said last: {lines[-1]}" if lines else ""
        return TransferError(f"{self._title} {how} and left no result{words}{said}")

    def _tell_library_lines(self) -> None:
        """Log the library's last lines after a failure or crash, if the log's level left them out before."""
        failed = isinstance(self._outcome, (VddkError, UnreachableError, DeadlineError, TransferError))
        if failed and not (self._launch.log and logging.getLogger(self._launch.log).isEnabledFor(logging.DEBUG)):
            for line in self._black_box.lines()[-_LINES:]:
                log.info("%s said: %s", self._launch.library, line)


class _CallTable:
    """The table of calls, as lines of the log."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines


def _record(event: dict[str, Any]) -> logging.LogRecord:
    return logging.LogRecord(str(event["logger"]), int(event["level"]), "", 0, str(event["text"]), None, None)


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return name + _SIGNALS.get(name, "")


def _used(choice: DriverChoice) -> AccessUsed:
    return AccessUsed(driver=choice.name, library=f"{choice.launch.library} {choice.launch.version}", why=choice.reason)


def _environment(launch: Launch) -> dict[str, str]:
    """Return the child's environment. Its LD_LIBRARY_PATH begins with the driver's, and is read only at the start."""
    environment = dict(os.environ)
    if launch.library_path:
        paths = [launch.library_path, environment.get(LIBRARY_PATH, "")]
        environment[LIBRARY_PATH] = ":".join(filter(None, paths))
    return environment
