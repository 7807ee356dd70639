"""One window of a policy: the points that it has made, and the VMs that it has left without one."""

from __future__ import annotations

from datetime import timedelta

from vmkeep.flows.reports.past import Past, policy_of
from vmkeep.flows.reports.values import BAD, GOOD, Kind, Report, Table, Value
from vmkeep.model.wording import counted
from vmkeep.policy import Opening, Policy

_LOOKED_BACK = timedelta(days=30)
_COLUMNS = (
    ("VM", Kind.TEXT), ("Result", Kind.STATE), ("Point", Kind.TEXT), ("Taken", Kind.TIME),
    ("Disks left out", Kind.NUMBER), ("Bytes read", Kind.BYTES), ("Bytes stored", Kind.BYTES),
    ("Last good point", Kind.TIME),
)  # fmt: skip


def window_report(past: Past, policy: Policy, opening: Opening) -> Report:
    """Return what a window has made, by the points that name its policy. Pure.

    Its VMs are those that have a point of the policy from the 30 days before it, or from the window itself. A VM that
    had none before and got none is not known to the repository.
    """
    following = policy.window.next_opening(opening.opens_at)
    end = min(following.opens_at if following else past.at, past.at)
    rows: list[tuple[Value, ...]] = []
    done = 0
    for _, points in past.by_vm():
        own = [
            point
            for point in points
            if point.policy == policy.name and opening.opens_at - _LOOKED_BACK <= point.taken_at < end
        ]
        if not own or policy_of([point for point in points if point.taken_at < end]) != policy.name:
            continue
        made = [point for point in own if point.taken_at >= opening.opens_at]
        last_good = max((point.taken_at for point in points if point.good and point.taken_at < end), default=None)
        if made:
            newest = made[-1]
            result = f"{GOOD}: done" if newest.good else f"{BAD}: its point is damaged or suspect, or failed a check"
            done += newest.good
            rows.append(
                (newest.vm_name, result, newest.ref, newest.taken_at, newest.skipped,
                 sum(point.bytes_read for point in made), sum(point.bytes_stored for point in made), last_good)
            )  # fmt: skip
        else:
            rows.append((own[-1].vm_name, f"{BAD}: no point", "", None, None, None, None, last_good))
    rows.sort(key=lambda row: (str(row[1]).startswith(GOOD), str(row[0])))
    return Report(
        title=f"Window of policy {policy.name}, {opening.opens_at:%Y-%m-%d %H:%M} UTC",
        at=past.at,
        facts=(
            ("Repository", past.location),
            ("Opened", f"{opening.opens_at:%Y-%m-%d %H:%M} UTC"),
            ("Closed", f"{opening.closes_at:%Y-%m-%d %H:%M} UTC"),
            ("VMs", f"{counted(done, 'VM')} with a good point, {counted(len(rows) - done, 'VM')} without"),
        ),
        notes=(
            "VMs are those that the policy has backed up in the 30 days before; why one failed is in its run.",
            "Points that retention has removed since are missing here.",
        ),
        tables=(Table(id="vms", title="VMs", columns=_COLUMNS, rows=tuple(rows)),),
    )
