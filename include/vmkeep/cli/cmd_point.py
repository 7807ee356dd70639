"""``vmkeep point``: list, show and pin restore points; try retention rules on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vmkeep.cli.completions import complete_points, complete_vms
from vmkeep.cli.left_out import tell_left_out
from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.point_apply import apply
from vmkeep.cli.point_boot import boot
from vmkeep.cli.point_delete import delete
from vmkeep.cli.point_export import export
from vmkeep.cli.point_retention import retention
from vmkeep.cli.point_serve import serve
from vmkeep.cli.retention_options import parse_end
from vmkeep.cli.times import shown_second, shown_time, shown_zone
from vmkeep.cli.who import who
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.flows import points
from vmkeep.flows.points import Marks, Use
from vmkeep.model.job import to_plain
from vmkeep.model.quiescing import QuiesceRequest
from vmkeep.model.selector import shown_name
from vmkeep.model.transport import AccessUsed
from vmkeep.model.wording import size

if TYPE_CHECKING:
    from datetime import datetime

    from vmkeep.flows.pointlist import CatalogEntry, PointList
    from vmkeep.model.hostconfig import HostRelease
    from vmkeep.model.point import DiskImage, RestorePoint


@click.group(cls=Verbs)
def point() -> None:
    """List, show, export, pin and delete restore points; try retention rules on them."""


point.add_command(apply)
point.add_command(boot)
point.add_command(delete)
point.add_command(export)
point.add_command(retention)
point.add_command(serve)


@point.command(
    "list",
    examples={
        "List all points": "vmkeep point list",
        "List the points of one VM, for a script": "vmkeep point list --vm app01 --json",
    },
)
@option("--vm", section=Section.WHAT, metavar="VM", shell_complete=complete_vms, help="Only this VM, by name or key.")
@repository_option
@json_option
def list_points(repository: str | None, vm: str | None, as_json: bool) -> None:
    """List restore points, oldest first.

    The exit code is 90 when a point cannot be read and was left out, and 10 when the VM has no point.
    """
    from vmkeep.flows.pointlist import list_points  # takes time to import

    with open_given(repository) as opened:
        found = list_points(opened, catalog=catalog_url(), vm=vm)
    if vm is not None and not found.entries:
        tell_left_out(found.refreshed)
        raise NotFoundError(f"no restore point of a VM '{vm}' in {opened.location}; see 'vmkeep point list'")
    for warning in found.warnings:
        warn(warning)
    if as_json:
        print_json(
            [
                to_plain(entry)
                | to_plain(found.marks.get(entry.ref, Marks()))
                | {"uses": to_plain(found.uses.get(entry.ref, ()))}
                for entry in found.entries
            ]
        )
    else:
        _print_list(found)
    tell_left_out(found.refreshed)


def _print_list(found: PointList) -> None:
    of, zone = _sources(found.entries), shown_zone()
    print_table(
        ("point", "VM", f"taken at ({zone})", "kind", "consistency", "disks", "capacity", "read", "stored", "marks"),
        [
            (
                entry.ref, shown_name(entry.vm_name) + of.get(entry.ref, ""), shown_second(entry.taken_at, zone),
                entry.kind, entry.consistency,
                f"{entry.disks} ({entry.skipped} skipped)" if entry.skipped else entry.disks,
                size(entry.capacity), size(entry.bytes_read), size(entry.bytes_stored),
                _short(found.marks.get(entry.ref, Marks()), found.uses.get(entry.ref, ())),
            )
            for entry in found.entries
        ],
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


@point.command(
    "show",
    examples={
        "Show the newest point of app01": "vmkeep point show latest:app01",
        "Write a mapping, to restore the VM elsewhere": "vmkeep point show latest:app01 --mapping > app01.yaml",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option(
    "--mapping",
    section=Section.WHAT,
    is_flag=True,
    help="Print the saved VM's places, disks and network cards as a YAML file, for 'restore run --mapping'.",
)
@repository_option
@json_option
def show(repository: str | None, ref: str, mapping: bool, as_json: bool) -> None:
    """Show one restore point.

    POINT is its ref as 'point list' prints it, the beginning of its id, or latest:VM.
    """
    if mapping and as_json:
        raise UsageError("--mapping prints YAML: leave out --json")
    if mapping:
        from vmkeep.flows.restore_mapping import mapping_at  # takes time to import

        with open_given(repository) as opened:
            click.echo(mapping_at(opened, ref), nl=False)
        return
    with open_given(repository) as opened:
        shown = points.show(opened, ref)
    found, marks = shown.point, shown.marks
    if as_json:
        print_json({"ref": found.ref, **to_plain(found), **to_plain(marks), "uses": to_plain(shown.uses)})
        return
    zone = shown_zone()
    click.echo(found.ref)
    if found.host is not None:
        _show_host(found, found.host)
    else:
        _show_vm(found)
    click.echo(f"  taken at      {shown_second(found.taken_at, zone)} {zone}, run {found.run}")
    if found.policy is not None:
        click.echo(f"  policy        {found.policy}, whose retention counts")
    if found.host is None:
        _show_content(found)
    for name in sorted(found.attachments):
        click.echo(f"  attached      {name}, {size(found.attachment_sizes[name])}")
    for warning in found.warnings:
        click.echo(f"  warning       {warning}")
    _show_marks(marks)
    for use in shown.uses:
        since = f" since {shown_second(use.since, zone)} {zone}" if use.since else ""
        click.echo(f"  in use        {use}{since}; it is not deleted meanwhile, nor 10 minutes after a kill")


@point.command(
    "pin",
    examples={
        "Hold a point for 90 days": "vmkeep point pin latest:app01 --until 90d --reason 'before the upgrade'",
        "Hold a point until somebody unpins it": "vmkeep point pin latest:app01 --reason 'case 4711'",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option("--reason", section=Section.WHAT, default="", metavar="TEXT", help="The reason, for people who ask later.")
@option(
    "--until",
    section=Section.WHAT,
    metavar="TIME",
    help="End of the hold: after 90d, 8w or 2y, at the end of a date (UTC), or at a time.",
)
@repository_option
@json_option
def pin(repository: str | None, ref: str, reason: str, until: str | None, as_json: bool) -> None:
    """Hold a restore point (legal hold).

    No retention rule removes it until it is unpinned, or the hold ends.
    """
    end = parse_end(until, now=now()) if until else None
    with open_given(repository) as opened:
        found, made = points.pin(opened, ref, reason=reason, by=who(), until=end)
    if as_json:
        print_json({"ref": found, **to_plain(made)})
        return
    click.echo(f"{found} is {_short(Marks(pin=made))}")


@point.command("unpin", examples={"End the hold of a point": "vmkeep point unpin latest:app01"})
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@repository_option
@json_option
def unpin(repository: str | None, ref: str, as_json: bool) -> None:
    """End the hold of a restore point."""
    with open_given(repository) as opened:
        found, was_pinned = points.unpin(opened, ref)
    if as_json:
        print_json({"ref": found, "was_pinned": was_pinned})
        return
    click.echo(f"{found} is not pinned any more" if was_pinned else f"{found} was not pinned")


@point.command(
    "trust",
    examples={
        "Take the mark SUSPECT off a point": "vmkeep point trust latest:app01 --reason 'its database was checked'"
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option("--reason", section=Section.WHAT, required=True, metavar="TEXT", help="The reason, for people who ask later.")
@repository_option
@json_option
def trust(repository: str | None, ref: str, reason: str, as_json: bool) -> None:
    """Take the mark SUSPECT off a restore point.

    Do this when you have compared its content. The reason stays with the point.
    """
    with open_given(repository) as opened:
        found, made = points.trust(opened, ref, reason=reason, by=who())
    if as_json:
        print_json({"ref": found, "was_suspect": made is not None})
        return
    click.echo(f"{found} is not suspect any more" if made is not None else f"{found} was not suspect")


def _transport(image: DiskImage | None) -> str:
    """Return the transport that a disk was read by, and the ones that were allowed where others were preferred."""
    if image is None or image.transport is None:
        return ""
    asked = image.transports_asked
    if image.lun is not None or image.transport in asked[:1]:
        return image.transport
    return f"{image.transport} (asked {':'.join(asked)})"


def _short(marks: Marks, uses: Sequence[Use] = ()) -> str:
    words = []
    if marks.pin is not None:
        over = "" if marks.pin.holds(now()) else "was "
        words.append(over + "pinned" + (f" until {_end(marks.pin.until)}" if marks.pin.until else ""))
    if marks.damage is not None:
        words.append("DAMAGED")
    if marks.suspicion is not None:
        words.append("SUSPECT")
    words += dict.fromkeys(f"{use.doing} on {use.host}" for use in uses)
    return ", ".join(words)


def _end(until: datetime) -> str:
    zone = shown_zone()
    return f"{shown_time(until, zone)} {zone}"


def _show_vm(found: RestorePoint) -> None:
    click.echo(f"  VM            {found.vm.name} ({found.vm.inventory_path or found.vm.key})")
    if found.vm.moref is not None:
        click.echo(f"  taken of      {found.vm.in_full}")


def _show_host(found: RestorePoint, host: HostRelease) -> None:
    """Show the host whose configuration a point holds, and the release that restores it."""
    at = f"{found.vm.moref} at {found.vm.server or found.vm.vcenter}"
    click.echo(f"  host          {found.vm.name} ({at}), hardware UUID {host.uuid or 'unknown'}")
    click.echo(f"  kind          host configuration, of {host.product or 'an unknown release'}")


def _show_content(found: RestorePoint) -> None:
    click.echo(f"  kind          {found.kind}; mode {found.mode_used}, asked {found.mode_asked}")
    asked = QuiesceRequest(level=found.quiesce_asked, required=found.quiesce_required)
    click.echo(
        f"  consistency   {found.consistency}; quiesce asked {asked}, used {found.quiesce_used or 'not recorded'}"
    )
    for change in found.changes:
        click.echo(f"  changed       {change}")
    if found.guest_commands is not None:
        click.echo(f"  in the guest  {found.guest_commands}")
    rows = []
    images = {image.disk.key: image for image in found.images}
    numbers = {image.disk.key: number for number, image in found.numbered.items()}
    for disk in found.disks:
        image = images.get(disk.key)
        what = f"{image.kind}: {image.reason}" if image else f"SKIPPED: {disk.why_skipped}"
        rows.append(
            (
                numbers.get(disk.key, ""), disk.key, disk.label, disk.address, size(disk.capacity), disk.backing,
                disk.compatibility_mode, _transport(image), what,
            )
        )  # fmt: skip
    print_table(("--disk", "key", "label", "address", "capacity", "backing", "RDM mode", "read by", "copied"), rows)
    for disk in found.disks:
        if disk.encryption:
            click.echo(f"  encrypted     {disk.address} by vSphere, with {disk.encryption}; the point holds it without")
    for image in found.images:
        if image.access is not None:
            click.echo(f"  read          {image.disk.address} by {_way(image.access)}")
        if image.lun is not None:
            click.echo(
                f"  LUN           {image.disk.address} from {image.lun.name}, consistency {image.lun.consistency}"
            )


def _show_marks(marks: Marks) -> None:
    if marks.pin is not None:
        since = f" on {marks.pin.since:%Y-%m-%d}" if marks.pin.since else ""
        click.echo(
            f"  {_short(Marks(pin=marks.pin))}, by {marks.pin.by}{since}: {marks.pin.reason or 'no reason given'}"
        )
    if marks.damage is not None:
        click.echo(f"  DAMAGED       {marks.damage.reason}")
        for lost in marks.damage.lost:
            places = ", ".join(f"bytes {extent.start}–{extent.stop - 1}" for extent in lost.extents) or "all of it"
            click.echo(f"  lost          {lost.name}: {places}")
        if not marks.damage.lost:
            click.echo("  lost          not known; restore it elsewhere to see what is left")
    if marks.suspicion is not None:
        since = f" since {marks.suspicion.since:%Y-%m-%d}" if marks.suspicion.since else ""
        click.echo(
            f"  SUSPECT       {', '.join(marks.suspicion.disks) or 'all disks'}{since}: {marks.suspicion.reason}"
        )
    if marks.trust is not None:
        since = f" on {marks.trust.since:%Y-%m-%d}" if marks.trust.since else ""
        click.echo(f"  trusted       by {marks.trust.by}{since}, after it was suspect: {marks.trust.reason}")


def _way(access: AccessUsed) -> str:
    """Return the way by which a disk was read, with the reasons."""
    why = f" ({access.why_transport})" if access.why_transport else ""
    return f"{access.transport}{why} with {access.library}: {access.why}"
