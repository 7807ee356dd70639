"""Cost: the bytes that each owner's backups have added to the repository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from vmkeep.flows.reports.past import Past, PastPoint, policy_of
from vmkeep.flows.reports.values import Kind, Report, Table, Value
from vmkeep.model.wording import counted, size
from vmkeep.policy import Policy

_OWNERS = (
    ("Owner", Kind.TEXT), ("Policies", Kind.TEXT), ("VMs", Kind.NUMBER), ("Points", Kind.NUMBER),
    ("Protected", Kind.BYTES), ("Stored", Kind.BYTES), ("Share", Kind.SHARE),
)  # fmt: skip
_VMS = (
    ("VM", Kind.TEXT), ("Owner", Kind.TEXT), ("Policy", Kind.TEXT), ("Points", Kind.NUMBER), ("Protected", Kind.BYTES),
    ("Stored", Kind.BYTES), ("Share", Kind.SHARE),
)  # fmt: skip
_NOBODY = "nobody"


def cost_report(past: Past, policies: Mapping[str, Policy]) -> Report:
    """Return the stored bytes of each owner and each VM, the greatest first. Pure.

    The owner is that of the policy to which the VM belongs.
    """
    whole = sum(point.bytes_stored for point in past.points) or 1
    by_owner: dict[str, list[tuple[str, list[PastPoint]]]] = defaultdict(list)
    vms: list[tuple[Value, ...]] = []
    for _, found in past.by_vm():
        points = list(found)
        name = policy_of(points)
        owner = policies[name].owner if name in policies else _NOBODY
        by_owner[owner].append((name, points))
        stored = sum(point.bytes_stored for point in points)
        vms.append((points[-1].vm_name, owner, name, len(points), points[-1].capacity, stored, stored / whole))
    owners: list[tuple[Value, ...]] = []
    for owner, groups in by_owner.items():
        stored = sum(point.bytes_stored for _, points in groups for point in points)
        owners.append(
            (
                owner,
                ", ".join(sorted({name for name, _ in groups if name})),
                len(groups),
                sum(len(points) for _, points in groups),
                sum(points[-1].capacity for _, points in groups),
                stored,
                stored / whole,
            )
        )
    return Report(
        title="Cost by owner",
        at=past.at,
        facts=(
            ("Repository", past.location),
            ("Points", f"{counted(len(past.points), 'point')} of {counted(len(vms), 'VM')}"),
            ("Added by their backups", size(sum(point.bytes_stored for point in past.points))),
        ),
        notes=(
            "Stored are the bytes that the backups of the points that are there now have added, compressed.",
            "A block that several VMs share counts for the one that stored it first.",
            "Bytes that a removed point has added and that other points still need count for nobody.",
            f"The owner is that of the VM's policy; {_NOBODY}: no policy of these files has made its points.",
        ),
        tables=(
            Table(id="owners", title="Owners", columns=_OWNERS, rows=_greatest_first(owners)),
            Table(id="vms", title="VMs", columns=_VMS, rows=_greatest_first(vms)),
        ),
    )


def _greatest_first(rows: list[tuple[Value, ...]]) -> tuple[tuple[Value, ...], ...]:
    """Return rows by their stored bytes, which both tables have in the last place but one."""
    return tuple(sorted(rows, key=lambda row: (-int(str(row[-2])), str(row[0]))))
