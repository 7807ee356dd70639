"""Takes a quiesced snapshot: tries several times, because a guest that is busy now may be quiet seconds later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from vmkeep.errors import QuiesceFailedError
from vmkeep.lateclass import dataclass
from vmkeep.model.changedown import Changed, ChangeDown, ChangeReason
from vmkeep.model.point import Quiesce
from vmkeep.vsphere.snapshots import VmSnapshot

log = logging.getLogger(__name__)

TRIES = 3
PAUSE_SECONDS = 5.0
"""Seconds between two tries."""


class Take(Protocol):
    """Takes the snapshot of a VM, quiesced or not."""

    def __call__(self, *, quiesce: bool) -> VmSnapshot:
        """Take it.

        :raises QuiesceFailedError: the guest could not be quiesced. There is no snapshot.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiesced:
    """A snapshot, and the quiescing that it was taken with."""

    snapshot: VmSnapshot
    used: Quiesce
    changes: tuple[ChangeDown, ...] = ()
    warnings: tuple[str, ...] = ()


def take_quiesced(
    take: Take,
    level: Quiesce,
    *,
    required: bool,
    vm: str,
    pause: Callable[[float], None] | None = None,
) -> Quiesced:
    """Take a snapshot with a quiesced guest; without, if every try fails and quiescing is not required.

    :param vm: the VM's name, for messages.
    :param pause: waits between two tries; ``None``: sleeps.
    :raises QuiesceFailedError: quiescing is required, and every try failed. There is no snapshot.
    """
    if level is Quiesce.NONE:
        return Quiesced(snapshot=take(quiesce=False), used=level)
    for left in reversed(range(TRIES)):
        try:
            return Quiesced(snapshot=take(quiesce=True), used=level)
        except QuiesceFailedError as error:
            failure = error
        log.warning("VM %s: quiescing failed, %d tries left: %s", vm, left, failure)
        if left:
            (pause or time.sleep)(PAUSE_SECONDS)
    if required:
        raise QuiesceFailedError(
            f"VM {vm}: quiescing is required, and failed {TRIES} times, so there is no backup: {failure}",
            fault=failure.fault,
        )
    change = ChangeDown(
        what=Changed.QUIESCE,
        asked=str(level),
        used=str(Quiesce.NONE),
        reason=ChangeReason.QUIESCING_FAILED,
        detail=f"quiescing failed {TRIES} times: {failure}",
    )
    return Quiesced(
        snapshot=take(quiesce=False),
        used=Quiesce.NONE,
        changes=(change,),
        warnings=(f"quiescing failed {TRIES} times, the point is crash-consistent: {failure}",),
    )
