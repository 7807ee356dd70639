"""Chooses the restore points of a policy that are exported after their backups, and the names of their exports."""

from __future__ import annotations

from collections.abc import Collection

from vmkeep.flows.failed_checks import failed_checks
from vmkeep.flows.policy_copies import newest_announced
from vmkeep.images import safe_name
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ExportRequest
from vmkeep.model.point import RestorePoint
from vmkeep.policy import Policy, PolicyExport
from vmkeep.repository import Repository

_KEY = 8
"""Characters of a VM's key that keep apart the exports of two VMs of one name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueExports:
    """The exports of a policy that are due."""

    requests: tuple[ExportRequest, ...]
    """One for each VM and each place."""
    left: tuple[str, ...] = ()
    """A sentence for each VM whose point is not exported."""


def exports_due(repository: Repository, policy: Policy, refs: Collection[str] | None) -> DueExports:
    """Return the exports of a policy's newest points.

    A point that is marked damaged or suspect, or has failed a check, is not exported, because its export would replace
    a good one.

    :param refs: the points that were made since the last exports, also those of other policies and repositories;
        ``None``: the policy's newest point of each VM is due.
    """
    marks = repository.marks.all()
    failed = failed_checks(repository)
    requests: list[ExportRequest] = []
    left: list[str] = []
    for read in newest_announced(repository, refs):
        if read.point is None:
            left.append(f"{read.name.ref} is not exported, because it cannot be read: {read.problem}")
        elif read.point.policy == policy.name:
            if (of_point := marks.get(read.point.ref)) is not None and not of_point.good:
                left.append(f"{read.point.ref} of VM {read.point.vm.name} is damaged or suspect, so it is not exported")
            elif kinds := failed.get(read.point.ref):
                left.append(
                    f"{read.point.ref} of VM {read.point.vm.name} has failed a check ({', '.join(kinds)}), so it is "
                    "not exported, and the export before it stays"
                )
            else:
                requests += [_request(read.point, export) for export in policy.exports]
    return DueExports(requests=tuple(requests), left=tuple(left))


def _request(point: RestorePoint, export: PolicyExport) -> ExportRequest:
    return ExportRequest(
        point=point.ref,
        format=export.format,
        out=export.out,
        name=safe_name(point.vm.name, end=f"-{point.vm.key[:_KEY]}"),
        overwrite=True,
        verify=export.verify,
    )
