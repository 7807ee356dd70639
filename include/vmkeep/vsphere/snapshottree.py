"""Reads the tree of a VM's snapshots, and which run took each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from vmkeep.errors import VmOutOfReachError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_BELOW = "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSnapshot:
    """A snapshot in a VM's tree."""

    moref: str
    name: str
    run: str
    """Key of the run that took it; empty: no run of vmkeep did."""
    repository: str | None = None
    """Id of the repository that the run backs up into; ``None``: an older program took it, and did not tell."""
    created_at: datetime
    call: str = ""
    """Random id of the call that took it; empty: an older program took it, and did not tell."""
    undo_of: str = ""
    """Key of the restore that keeps it, so that the restore can be undone; empty: it is not kept for that. Such a
    snapshot is no leftover, and has no ``run``."""
    below: bool = False
    """The disks below it were written, or were going to be."""
    quiesced: bool
    """vSphere says that the guest was quiesced. It may say so even if no VMware Tools run."""

    def is_of_other(self, repository: str) -> bool:
        """Return whether the snapshot is known to be of a run into another repository.

        Only that repository knows whether the run is alive.
        """
        return self.repository is not None and self.repository != repository


def list_all(session: Session, moref: str) -> tuple[VmSnapshot, ...]:
    """Return every snapshot of a VM, parents before children.

    :raises VmOutOfReachError: vSphere shows no snapshots, but no configuration either, so that there may be some.
    """
    with speaking(f"list the snapshots of VM {moref}"):
        values = read(session, session.vm(moref), "snapshot", *protection.PATHS)
    info = values["snapshot"]
    if info is None and values["config.version"] is None:
        why = protection.no_configuration(values["runtime.connectionState"])
        raise VmOutOfReachError(f"VM {moref}: its snapshots are not known: {why}")
    return in_tree(info)


def in_tree(info: Any) -> tuple[VmSnapshot, ...]:
    """Return every snapshot in a VM's tree (``VirtualMachineSnapshotInfo``), parents before children.

    :param info: the tree; ``None``: the VM has no snapshots.
    """
    return tuple(_snapshot(tree) for tree in _walk(info.rootSnapshotList)) if info is not None else ()


def _walk(trees: Iterable[Any]) -> Iterator[Any]:
    waiting = list(trees or ())
    while waiting:
        tree = waiting.pop(0)
        yield tree
        waiting.extend(tree.childSnapshotList or ())


def _snapshot(tree: Any) -> VmSnapshot:
    told = _told(tree.description)
    return VmSnapshot(
        moref=moref_of(tree.snapshot),
        name=tree.name,
        run=told.get("run", ""),
        repository=told.get("repository") or None,
        created_at=tree.createTime.astimezone(UTC),
        call=told.get("call", ""),
        undo_of=told.get("undo", ""),
        below=told.get("writes") == _BELOW,
        quiesced=bool(tree.quiesced),
    )


def describe(*, run: str, call: str, repository: str | None, undo: bool = False, below: bool = False) -> str:
    """Return the description of a snapshot that a run takes.

    :param undo: the snapshot is kept after the run, so that a restore can be undone.
    :param below: the disks below the snapshot are going to be written.
    """
    told = {"undo" if undo else "run": run, "call": call} | ({} if repository is None else {"repository": repository})
    if below:
        told["writes"] = _BELOW
    return json.dumps({"vmkeep": told})


def _told(description: str | None) -> dict[str, str]:
    """Return the words of vmkeep in a snapshot's description; nothing if no run of vmkeep took it."""
    try:
        told = json.loads(description or "")["vmkeep"]
        return {name: str(told[name]) for name in ("run", "repository", "call", "undo", "writes") if name in told}
    except (ValueError, KeyError, TypeError):
        return {}
