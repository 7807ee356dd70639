"""``vmkeep point list``: list restore points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vmkeep.cli.completions import complete_vms
from vmkeep.cli.left_out import tell_left_out
from vmkeep.cli.lengths import limit_option, shown_at_most
from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json_list, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.point_marks import short_marks
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import NotFoundError
from vmkeep.flows.points import Marks
from vmkeep.model.job import to_plain
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import size

if TYPE_CHECKING:
    from vmkeep.flows.clean_points import Cleanness
    from vmkeep.flows.pointlist import CatalogEntry, PointList


@command(
    "list",
    examples={
        "List all points": "vmkeep point list",
        "List the points of one VM, for a script": "vmkeep point list --vm app01 --json",
        "List the newest 20 points": "vmkeep point list --limit 20",
    },
)
@option("--vm", section=Section.WHAT, metavar="VM", shell_complete=complete_vms, help="Only this VM, by name or key.")
@limit_option("points, the newest")
@repository_option
@json_option
def list_points(repository: str | None, vm: str | None, limit: int | None, as_json: bool) -> None:
    """List restore points, oldest first. A terminal shows the newest 500, and says if there are more.

    Among the marks, MALWARE tells of a find, and IN DOUBT of one in an older point whose files the point shares.
    The exit code is 90 when a point cannot be read and was left out, and 10 when the VM has no point.
    """
    from vmkeep.flows.pointlist import list_points, scan_doubts  # takes time to import

    with open_given(repository) as opened:
        found = list_points(opened, catalog=catalog_url(), vm=vm, most=shown_at_most(limit, as_json=as_json))
        scans = scan_doubts(opened, found)
    if vm is not None and not found.entries:
        tell_left_out(found.refreshed)
        raise NotFoundError(f"no restore point of a VM '{vm}' in {opened.location}; see 'vmkeep point list'")
    for warning in found.warnings:
        warn(warning)
    if as_json:
        print_json_list(_plain(found, scans))
    else:
        _print_list(found, scans)
    if found.has_older:
        warn(f"older points are left out: these are the newest {len(found.entries):,}; --limit 0 shows all")
    tell_left_out(found.refreshed)


def _plain(found: PointList, scans: Mapping[str, Cleanness]) -> Iterator[dict[str, object]]:
    unmarked = to_plain(Marks())
    for entry in found.entries:
        marks = found.marks.get(entry.ref)
        uses = found.uses.get(entry.ref, ())
        yield (
            to_plain(entry)
            | (to_plain(marks) if marks else unmarked)
            | {"uses": to_plain(uses), "scan": scans.get(entry.ref)}
        )


def _print_list(found: PointList, scans: Mapping[str, Cleanness]) -> None:
    of, zone = _sources(found.entries), shown_zone()
    print_table(
        ("point", "VM", f"taken at ({zone})", "kind", "consistency", "disks", "capacity", "read", "stored", "marks"),
        (
            (
                entry.ref, shown_name(entry.vm_name) + of.get(entry.ref, ""), shown_second(entry.taken_at, zone),
                entry.kind, entry.consistency,
                f"{entry.disks} ({entry.skipped} skipped)" if entry.skipped else entry.disks,
                size(entry.capacity), size(entry.bytes_read), size(entry.bytes_stored),
                short_marks(found.marks.get(entry.ref, Marks()), found.uses.get(entry.ref, ()), scans.get(entry.ref)),
            )
            for entry in found.entries
        ),
        none="there is no restore point",
    )  # fmt: skip


def _sources(entries: Sequence[CatalogEntry]) -> dict[str, str]:
    """Return which VM each point was taken of, by ref, where one history holds several vCenters' VMs, or ids."""
    sources: dict[str, set[tuple[str | None, str | None]]] = {}
    for entry in entries:
        if entry.vcenter:  # older programs told none of an ESXi host, which makes it no other VM
            sources.setdefault(entry.vm_key, set()).add((entry.vcenter, entry.moref))
    return {
        entry.ref: f" ({entry.moref} at {' '.join(filter(None, (entry.server, entry.vcenter))) or 'unknown'})"
        for entry in entries
        if entry.moref and len(sources.get(entry.vm_key, ())) > 1
    }
