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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from vmkeep.errors import (
    ConflictError,
    DeadlineError,
    StaleError,
    TransferError,
    VmKeepError,
)
from vmkeep.model.access import AccessDone
from vmkeep.model.diskaccess import DiskAccess, HoldingAccess, Launch
from vmkeep.model.site import Site
from vmkeep.privacy import hide_memory
from vmkeep.transfer.drivers import load_driver
from vmkeep.transfer.library_clash import require_neighbours
from vmkeep.transfer.new_rate import NewRate
from vmkeep.transfer.protocol import Channel, ChildRequest, describe_error, parse_access_job, parse_site
from vmkeep.transfer.renewal import receive
from vmkeep.transfer.stop_reasons import Stop, Watch

if TYPE_CHECKING:
    from vmkeep.model.job import DiskCopy, DiskWrite, Progress
    from vmkeep.model.transport import AccessUsed
    from vmkeep.repository import Repository

log = logging.getLogger(__name__)

INIT_SECONDS: Final = 120
"""Seconds that a driver may take to start. Then the kernel ends the process, because no thread may watch it yet."""
PROGRESS_EVERY: Final = 0.5


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
            return asdict(_VERBS[request.verb](request, site, rate, access, stop, _Reporter(channel, stop)))
        finally:
            channel.send({"event": "timings", "rows": [asdict(row) for row in access.timings()]})


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


def _copy(
    request: ChildRequest,
    site: Site,
    rate: NewRate,
    access: DiskAccess,
    stop: Stop,
    report: Callable[[Progress], None],
) -> DiskCopy:
    from vmkeep.model.job import Cursor, DiskCopy, DiskJob, from_plain
    from vmkeep.transfer.auditing import OnceAllocated
    from vmkeep.transfer.increments import decide_reading
    from vmkeep.transfer.permitted import permitted
    from vmkeep.transfer.storing import back_up_disk

    job = from_plain(DiskJob, request.job)
    cursor = from_plain(Cursor, request.cursor) if request.cursor else None
    with _open_repository(request, site, rate) as repository:
        area = repository.run(job.run)
        extents = area.load_extents(job.extents) if job.extents else None
        name, what = f"disk-{job.disk.key}", f"copy of {job.vm.name} {job.disk.label}"
        with (
            area.open_lease(name) as lease,
            permitted(repository, job.limits, run=job.run, lease=name, what=what) as settle,
            access.open_source(job) as source,
        ):
            settle(source.transport)
            if source.capacity != job.disk.capacity:
                raise StaleError(
                    f"{job.vm.name} {job.disk.label}: the disk has {source.capacity} bytes, not {job.disk.capacity} "
                    "as planned; plan again"
                )
            log.info(
                "%s %s: reading by %s%s",
                job.vm.name,
                job.disk.label,
                source.transport,
                f" ({job.why_transports})" if job.why_transports else "",
            )
            check = _both(stop.check, lease.check)
            once = OnceAllocated(source)
            reading = decide_reading(
                job, once, repository, extents=extents, cursor=cursor, on_progress=report, check=check
            )
            stored = back_up_disk(
                once,
                repository,
                run=job.run,
                begun=job.begun or None,
                extents=reading.extents,
                also=reading.also,
                parent_root=reading.parent_root,
                cursor=reading.cursor,
                snapshot=job.snapshot,
                piece_size=_at_most(job.piece_size, access.limits.largest_piece),
                depth=_at_most(job.depth, access.limits.most_in_flight),
                on_progress=reading.noted(report),
                check=check,
            )
            transport = source.transport
    return DiskCopy(
        run=job.run,
        begun=job.begun,
        snapshot=job.snapshot,
        disk=job.disk,
        root=stored.root,
        kind=reading.kind,
        reason=reading.reason,
        change_id=job.change_id,
        extents=stored.extents_root,
        extents_size=stored.extents_size,
        bytes_read=stored.bytes_read,
        bytes_stored=stored.bytes_stored,
        seconds=stored.seconds,
        transport=transport,
        resumed_at=stored.resumed_at,
        full_reason=reading.full_reason,
        audit=reading.audit,
        suspects=reading.suspects,
        access=_used(request, transport, job.transports, job.why_transports),
        lun=job.lun,
    )


def _write(
    request: ChildRequest,
    site: Site,
    rate: NewRate,
    access: DiskAccess,
    stop: Stop,
    report: Callable[[Progress], None],
) -> DiskWrite:
    from vmkeep.model.job import DiskWrite, WriteJob, from_plain
    from vmkeep.transfer.permitted import permitted
    from vmkeep.transfer.target_disk import TargetDisk

    job = from_plain(WriteJob, request.job)
    started = time.monotonic()
    with _open_repository(request, site, rate) as repository:
        point = repository.load_point(job.point)
        root = next((image.root for image in point.images if image.disk.key == job.device_key), None)
        if root is None:
            raise ConflictError(f"restore point {job.point} holds no disk {job.device_key}")
        name, title = f"disk-{job.device_key}", f"restore of {job.target_file}"
        with (
            repository.run(job.run).open_lease(name) as lease,
            permitted(repository, job.limits, run=job.run, lease=name, what=title) as settle,
        ):
            check = _both(stop.check, lease.check)
            disk = TargetDisk(access, repository, job, root, settle=settle, on_progress=report, check=check)
            done = disk.write()
    return DiskWrite(
        run=job.run,
        device_key=job.device_key,
        target_file=job.target_file,
        bytes_written=done.written,
        bytes_zeroed=done.zeroed,
        bytes_compared=done.compared,
        bytes_resumed=done.resumed,
        seconds=time.monotonic() - started,
        transport=done.transport,
        access=_used(request, done.transport, job.transports),
        blocks=done.part.blocks,
        why_blocks=done.part.why,
    )


def _access(
    request: ChildRequest,
    _site: Site,
    _rate: NewRate,
    access: DiskAccess,
    stop: Stop,
    _report: Callable[[Progress], None],
) -> AccessDone:
    """Take or end the access holds on some VMs. A failure at one VM does not stop the others."""
    job = parse_access_job(request.job or {})
    if not isinstance(access, HoldingAccess):
        raise TransferError(f"the disk driver {request.driver} can take no access hold")
    problems = {}
    for vm in job.vms:
        stop.check()
        try:
            (access.prepare_access if job.prepare else access.end_access)(vm)
        except DeadlineError:
            raise  # because a library that hangs now would hang again
        except VmKeepError as error:
            problems[vm.vm.moref] = str(error)
    return AccessDone(problems=problems)


def _used(request: ChildRequest, transport: str, modes: Sequence[str], why: str = "") -> AccessUsed | None:
    """Return the way that a disk was read or written.

    :param modes: the modes that were given to the driver.
    :param why: the reasons against the modes that were left out before.
    """
    from vmkeep.model.job import from_plain
    from vmkeep.model.transport import AccessUsed, why_another

    if request.access is None:
        return None
    told = {"transport": transport, "why_transport": "; ".join(filter(None, [why, why_another(transport, modes)]))}
    return from_plain(AccessUsed, {**request.access, **told})


def _at_most(asked: int, limit: int | None) -> int:
    return asked if limit is None else min(asked, limit)


def _open_repository(request: ChildRequest, site: Site, rate: NewRate) -> Repository:
    from vmkeep.repository import open_site_repository

    repository = open_site_repository(site, master=bytes.fromhex(request.master) if request.master else None)
    rate.begin()
    return repository


_VERBS: Final[dict[str, Callable[..., DiskCopy | DiskWrite | AccessDone]]] = {
    "copy": _copy,
    "write": _write,
    "access": _access,
}


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def check() -> None:
        first()
        second()

    return check
