"""Runs the transfers of one call side by side, and rolls the call's work back if it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from vmkeep.errors import DiskMovedError, VmKeepError
from vmkeep.flows.turns import in_turn
from vmkeep.lateclass import dataclass
from vmkeep.transfer import RunningTransfer

log = logging.getLogger(__name__)

PARALLEL_DISKS = 4
"""Number of disks transferred at once. More would only wait for the host's NFC server or the processors."""

T = TypeVar("T")
R = TypeVar("R")


class Transfers:
    """The transfers of one call, side by side."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PARALLEL_DISKS, thread_name_prefix="disk")
        self._running: list[RunningTransfer[Any]] = []
        self._stopped = threading.Event()

    def run(self, starts: Sequence[Callable[[], RunningTransfer[T]]]) -> list[T]:
        """Start the transfers and return their results. The first error is raised at once; the others go on."""
        futures = [self._pool.submit(self._one, start) for start in starts]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [error for future in done if (error := future.exception()) is not None]
        if failed:
            raise failed[0]
        return [future.result() for future in futures]

    def cancel(self) -> None:
        """Cancel the transfers that run, and those that start from now on."""
        self._stopped.set()
        for transfer in list(self._running):
            transfer.cancel()

    def stop(self) -> None:
        """Cancel the transfers that still run, and wait until their processes are gone."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.cancel()
        self._pool.shutdown(wait=True)

    def _one(self, start: Callable[[], RunningTransfer[T]]) -> T:
        try:
            return self.in_turn(partial(self._follow, start), log.warning)
        except DiskMovedError as error:
            log.warning("%s; trying once more, where the disk is now", error)
            return self.in_turn(partial(self._follow, start), log.warning)

    def in_turn(self, work: Callable[[], R], announce: Callable[[str], None]) -> R:
        """Do a work as soon as limits leave room for it, unless the transfers are cancelled meanwhile."""
        return in_turn(work, announce=announce, stopped=self._stopped)

    def _follow(self, start: Callable[[], RunningTransfer[T]]) -> T:
        with start() as transfer:
            self._running.append(transfer)
            if self._stopped.is_set():
                transfer.cancel()
            return transfer.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The way to roll back the work that a call has begun, with its words for the log."""

    action: Callable[[], str | None]
    """Roll the work back; return a sentence about it for the log, if there is one."""
    begins: str
    left: str
    """Names the things that stay if it is not rolled back, and how to remove them."""
    errors_after: tuple[type[VmKeepError], ...] = ()
    """Errors of something else, raised after the work was rolled back."""


@contextmanager
def rolled_back_on_failure(rollback: Rollback) -> Iterator[Transfers]:
    """Stop the transfers and roll the work back, if anything fails. A second interruption ends that at once."""
    transfers = Transfers()
    try:
        yield transfers
        transfers.stop()
    except BaseException as error:
        again = " again" if isinstance(error, KeyboardInterrupt) else ""
        try:
            log.warning("stopping: %s; interrupt%s to end at once", rollback.begins, again)
            transfers.stop()
            if done := rollback.action():
                log.warning("%s", done)
        except VmKeepError as second:
            left = "" if isinstance(second, rollback.errors_after) else f": {rollback.left}"
            log.error("cleaning up failed too: %s%s", second, left)
        except KeyboardInterrupt:
            log.error("interrupted%s: %s", again, rollback.left)
            raise
        raise
