"""Finds the file systems that the VM's restore point before had, and that a point has no more.

A file system whose head is lost looks like a volume that never had one. Only the earlier check shows the loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from vmkeep.flows.lvm_history import same_vm
from vmkeep.flows.point_choice import points_in_order
from vmkeep.guest.volumes import Volumes
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import Repository

_LOOK_BACK: Final = 64
"""Number of points to pass over in search of the last one that was checked."""


def remembered(volumes: Volumes) -> list[dict[str, object]]:
    """Return the facts about all file systems that a proof keeps for the check of a later point."""
    return [{"name": volume.name, "kind": volume.kind, "uuid": volume.uuid} for volume in volumes if volume.has_files]


def lost_file_systems(repository: Repository, point: RestorePoint, volumes: Volumes) -> Iterator[str]:
    """Yield a sentence for each file system that the VM's last checked point before had, and that is not there now.

    A later point is compared with this one, so that a volume that somebody has removed is told once.
    """
    left = Counter(volume.uuid for volume in volumes if volume.has_files)  # a clone has the UUID of its original
    there = {(volume.name, volume.uuid) for volume in volumes if volume.has_files}
    ref, before = _before(repository, point)
    # Those in the same place first, so that of two clones the one is named that is gone.
    for volume in sorted(before, key=lambda each: (each.get("name"), each.get("uuid")) not in there):
        uuid = str(volume.get("uuid") or "")
        left[uuid] -= 1
        if uuid and left[uuid] < 0:
            yield (
                f"the {volume.get('kind')} in {volume.get('name')} ({uuid}) of {ref} is not there any more: it was "
                "removed or made anew, or its head is lost"
            )


def _before(repository: Repository, point: RestorePoint) -> tuple[str, list[dict[str, object]]]:
    """Return the ref of the VM's last checked point before a point, and its volumes; none if there is none."""
    for earlier in islice(points_in_order(repository, point.vm.key, before=point), _LOOK_BACK):
        if earlier.point is None or not same_vm(earlier.point, point):
            continue
        for proof in repository.proofs.of(earlier.ref):
            found = proof.details.get("file_systems")
            told = proof.kind is ProofKind.FILE_SYSTEMS and proof.result is not ProofResult.FAILED
            if told and isinstance(found, list):  # behind a damaged block the volumes are not known
                return earlier.ref, [volume for volume in found if isinstance(volume, dict)]
    return "", []
