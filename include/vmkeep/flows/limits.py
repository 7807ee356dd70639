"""Applies a site's limits: to each transfer of a disk, and to the snapshot of a backup.

A transfer takes permits when it starts, and its lease keeps them. A snapshot takes permits of its own before it is
taken, and its run keeps them until the snapshot is removed: one of each datastore of the VM, and one for the copies of
its disks. There are as many of these as copies at a time, and none is given while copies wait. So no more snapshots are
open than copies can use.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from vmkeep.errors import LowSpaceError, NotFoundError, VmKeepError
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.export_permits import limit_of_transfers
from vmkeep.flows.liveness import HasEnded, owner_has_ended, owner_of
from vmkeep.flows.transports import transports_of
from vmkeep.model.job import DiskJob, from_json, to_json
from vmkeep.model.limits import Holder, Limit, Limits
from vmkeep.model.point import BackupMode
from vmkeep.model.transport import TransportMode
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.vsphere import loads
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_NOTE: Final = "permits"
_WITH_MEMORY: Final = frozenset({BackupMode.SNAPSHOT_INCL_MEM, BackupMode.SUSPEND})
"""Modes in which vSphere writes the memory of a running VM onto its datastore."""
_NFC: Final = frozenset({TransportMode.NBD, TransportMode.NBDSSL})


def of_transfer(session: Session, limits: Limits, moref: str, transports: Sequence[TransportMode]) -> tuple[Limit, ...]:
    """Return the limits within which a disk of a VM may be opened.

    :param moref: managed object id of the VM.
    :param transports: the transport modes by which the disk may be opened.
    """
    found = []
    if _NFC & set(transports) and (nfc := _nfc_of(session, limits, moref)) is not None:
        found.append(nfc)
    if limits.transfers is not None:
        found.append(limit_of_transfers(limits.transfers))
    return tuple(found)


def limited(session: Session, limits: Limits, job: DiskJob) -> DiskJob:
    """Return the job of a copy with the limits within which its disk may be opened."""
    ways = () if job.lun is not None else job.transports
    return replace(job, limits=of_transfer(session, limits, job.vm.moref, ways))


def _nfc_of(session: Session, limits: Limits, moref: str) -> Limit | None:
    host = loads.read_host(session, moref)
    if host is None:
        return None
    most = limits.nfc_of(host.version)
    return Limit(key=f"nfc/{host.id}", name=f"NFC sessions of host {host.name}", most=most, of_nfc=True)


def hold_for_snapshot(
    session: Session, repository: Repository, limits: Limits, pre: Preflight, seen: AbstractContextManager[None]
) -> None:
    """Take the permits of a run for its snapshot. The run keeps them until :func:`give_back`.

    :param seen: a look at the VM's loads.
    :raises LimitReachedError: a permit is not free. None is held, and the VM is not touched.
    :raises LowSpaceError: a datastore of the VM has too little free space for a snapshot.
    """
    if pre.mode is BackupMode.ASIS:
        return
    moref, run = pre.vm.moref or "", pre.request.run
    with seen:
        stores = loads.read_stores(session, moref)
        of_copies = of_transfer(session, limits, moref, _transports(pre))
    _require_space(stores, limits, pre)
    wanted = [_for_snapshots(limit) for limit in of_copies]
    server = server_uuid(session)
    wanted += [
        Limit(
            key=f"datastore/{server}/{store.moref}",
            name=f"snapshots on datastore {store.name}",
            most=limits.snapshots,
        )
        for store in stores
    ]
    repository.run(run).store(_NOTE, to_json(wanted))
    rooms = [repository.permits(limit).room() for limit in of_copies]
    holder = Holder(owner=run, run=run, what=f"backup of {pre.vm.name}")
    held: list[Limit] = []
    try:
        for limit, room in zip_longest(wanted, rooms):
            repository.permits(limit).take(holder, room=room)
            held.append(limit)
    except BaseException:
        for limit in held:  # but not the last one, so that the run keeps its place in that queue
            repository.permits(limit).give_back(run)
        raise


def give_back(repository: Repository, run: str) -> bool:
    """Give back the permits of a run whose snapshot is gone; return whether it holds none. Else they expire."""
    try:
        for limit in from_json(tuple[Limit, ...], repository.run(run).load(_NOTE)):
            repository.permits(limit).give_back(run)
    except NotFoundError:
        return True
    except (VmKeepError, ValueError) as error:
        log.warning("run %s: its permits are free only in some hours: %s", run, error)
        return False
    return True


def holder_is_over(repository: Repository, run: str, has_ended: HasEnded) -> bool:
    """Tell whether a run that holds permits needs them no more, unless it has a snapshot. Look for that afterwards.

    From before its permits until its snapshot, a run holds a lease.

    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    """
    area = repository.run(run)
    if (ended := owner_has_ended(area, has_ended)) is not None:
        return ended
    return owner_of(area) == "" and not area.has_live_lease()


def _require_space(stores: Sequence[loads.StoreLoad], limits: Limits, pre: Preflight) -> None:
    """Return if every datastore has the space that a snapshot has to leave free.

    :raises LowSpaceError: one has not.
    """
    with_memory = pre.running and pre.mode in _WITH_MEMORY
    for store in stores:
        floor, memory = limits.floor_of(store.capacity), store.memory if with_memory else 0
        if store.capacity and store.free - memory < floor:
            takes = f", of which the VM's memory would take {size(memory)}" if memory else ""
            raise LowSpaceError(
                f"VM {pre.vm.name}: no snapshot is taken, because datastore {store.name} has {size(store.free)} free"
                f"{takes}, and {size(floor)} have to stay free (limit 'free={limits.free}'): make room on it, or lower "
                "the limit"
            )


def _transports(pre: Preflight) -> tuple[TransportMode, ...]:
    """Return the modes by which the disks will be read, if nothing goes wrong: the first possible one of each."""
    copied = (disk.key for disk in pre.disks if disk.skip is None)
    return tuple({mode for key in copied for mode in transports_of(pre, key).modes[:1]})


def _for_snapshots(limit: Limit) -> Limit:
    """Return the limit on snapshots whose copies go by another limit."""
    return replace(limit, key=f"snapshots/{limit.key}", name=f"snapshots to copy within the {limit.name}", of_nfc=False)
