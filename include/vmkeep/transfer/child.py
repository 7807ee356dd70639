"""The child process of one transfer: one disk, from the request on stdin to the result on the event stream.

The order matters. First the request is read. Then VDDK is initialised on the main thread, while there is no other
thread and nothing heavy is imported. Only then come the watch, the repository and the transfer's threads. Disk, lease
and library are closed before the result is sent, so that after a result nothing of this copy is left.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from vmkeep.errors import TransferError, VmKeepError
from vmkeep.model.access import AccessDone
from vmkeep.model.diskaccess import DiskAccess, Launch
from vmkeep.privacy import hide_memory
from vmkeep.transfer.childtask import ChildTask
from vmkeep.transfer.drivers import load_driver
from vmkeep.transfer.library_clash import require_neighbours
from vmkeep.transfer.new_rate import NewRate
from vmkeep.transfer.protocol import Channel, ChildRequest, describe_error, parse_site
from vmkeep.transfer.renewal import receive
from vmkeep.transfer.stop_reasons import Stop, Watch

if TYPE_CHECKING:
    from vmkeep.model.job import DiskCopy, DiskWrite, Progress

log = logging.getLogger(__name__)

INIT_SECONDS: Final = 120
"""Seconds that a driver may take to start. Then the kernel ends the process, because no thread may watch it yet."""
PROGRESS_EVERY: Final = 0.5
_VERBS: Final = ("copy", "write", "access")


def main() -> int:
    """Run the request on stdin; return the exit status. Ends the process without Python's own tidying up."""
    hide_memory()
    channel = Channel.take_over()
    faulthandler.enable(sys.stderr)
    parent = os.getppid()
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.request("SIGTERM"))
    status = 1
    try:
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            request = ChildRequest.decode(stdin.readline())
        _prepare(request, channel)
        channel.send({"event": "result", "value": _run(request, channel, stop, parent)})
        status = 0
    except VmKeepError as error:
        channel.send(describe_error(error))
    except Exception as error:
        log.exception("the transfer failed in a way nobody expected")
        channel.send(describe_error(error))
    return status


class _ChannelHandler(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))  # because the parent's log adds level and time
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record as text."""
        text = self.format(record)
        self._channel.send({"event": "log", "level": record.levelno, "logger": record.name, "text": text})


def _prepare(request: ChildRequest, channel: Channel) -> None:
    logging.basicConfig(level=request.log_level, handlers=[_ChannelHandler(channel)])
    logging.captureWarnings(capture=True)
    # The loader read it when the process started. Programs that start from here must not find those libraries.
    if request.library_path is None:
        os.environ.pop("LD_LIBRARY_PATH", None)
    else:
        os.environ["LD_LIBRARY_PATH"] = request.library_path


def _run(request: ChildRequest, channel: Channel, stop: Stop, parent: int) -> Any:
    site, renewed = receive(parse_site(request.site))
    probing = request.verb == "probe"
    if not probing and (request.verb not in _VERBS or request.job is None):
        raise TransferError(f"not a transfer request: verb {request.verb!r}")
    signal.alarm(INIT_SECONDS)
    with load_driver(request.driver).open(site, black_box=request.black_box) as access:
        if probing:
            launch = Launch(**request.launch)
            require_neighbours(launch)
            return asdict(access.probe(launch))
        signal.alarm(0)
        calls = partial(_calls, access)
        rate = NewRate(site.repository)
        Watch(stop, channel, stdin=0, parent=parent, activity=calls, renewed=renewed, rate=rate)
        try:
            task = ChildTask(
                request=request, site=site, rate=rate, access=access, stop=stop, report=_Reporter(channel, stop)
            )
            return asdict(_done(task))
        finally:
            channel.send({"event": "timings", "rows": [asdict(row) for row in access.timings()]})


def _done(task: ChildTask) -> DiskCopy | DiskWrite | AccessDone:
    """Carry out the request. Each verb is imported only now, and no other one, because that takes time."""
    match task.request.verb:
        case "copy":
            from vmkeep.transfer.copytask import copy

            return copy(task)
        case "write":
            from vmkeep.transfer.writetask import write

            return write(task)
    from vmkeep.transfer.accesstask import change_access

    return change_access(task)


def _calls(access: DiskAccess) -> int:
    return sum(row.calls for row in access.timings())


class _Reporter:
    """Sends progress a few times a second at most, and every checkpoint."""

    def __init__(self, channel: Channel, stop: Stop) -> None:
        self._channel = channel
        self._stop = stop
        self._sent_at = 0.0
        self._seen: tuple[str, int] = ("", -1)

    def __call__(self, progress: Progress) -> None:
        """Take one event of the transfer."""
        now = time.monotonic()
        seen = (progress.phase, progress.bytes_done)
        if seen != self._seen:
            self._stop.progressed_at = now
        last = progress.bytes_done >= progress.bytes_total
        if progress.cursor is None and not last and seen[0] == self._seen[0] and now - self._sent_at < PROGRESS_EVERY:
            return
        self._seen = seen
        self._sent_at = now
        self._channel.send({"event": "progress", "progress": asdict(progress)})
