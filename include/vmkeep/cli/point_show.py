"""``vmkeep point show``: show one restore point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_line, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.point_marks import short_marks
from vmkeep.cli.point_proofs import show_proofs, show_scan, write_picture
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import UsageError
from vmkeep.flows import points
from vmkeep.flows.points import Marks
from vmkeep.model.job import to_plain
from vmkeep.model.quiescing import QuiesceRequest
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import size

if TYPE_CHECKING:
    from vmkeep.model.hostconfig import HostRelease
    from vmkeep.model.point import DiskImage, RestorePoint
    from vmkeep.model.transport import AccessUsed


@command(
    "show",
    examples={
        "Show the newest point of app01": "vmkeep point show latest:app01",
        "See the screen of its last boot test": "vmkeep point show latest:app01 --screenshot app01.png",
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
@option(
    "--screenshot", section=Section.WHAT, type=click.Path(path_type=Path), metavar="FILE.png",
    help="Write the newest picture of the screen that a boot test or a drill has kept with the point.",
)  # fmt: skip
@repository_option
@json_option
def show(repository: str | None, ref: str, mapping: bool, screenshot: Path | None, as_json: bool) -> None:
    """Show one restore point.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM.
    """
    if mapping and as_json:
        raise UsageError("--mapping prints YAML: leave out --json")
    if screenshot is not None:
        if mapping or as_json:
            raise UsageError("--screenshot writes a picture: leave out --mapping and --json")
        with open_given(repository) as opened:
            write_picture(opened, ref, screenshot)
        return
    if mapping:
        from vmkeep.flows.restore_mapping import mapping_at  # takes time to import

        with open_given(repository) as opened:
            click.echo(mapping_at(opened, ref), nl=False)
        return
    with open_given(repository) as opened:
        shown = points.show(opened, ref)
    found, marks = shown.point, shown.marks
    if as_json:
        also = {"uses": to_plain(shown.uses), "proofs": to_plain(shown.proofs), "scan": to_plain(shown.scan)}
        print_json({"ref": found.ref, **to_plain(found), **to_plain(marks), **also})
        return
    zone = shown_zone()
    print_line(found.ref)
    if found.host is not None:
        _show_host(found, found.host)
    else:
        _show_vm(found)
    print_line(f"  taken at      {shown_second(found.taken_at, zone)} {zone}, run {found.run}")
    if found.policy is not None:
        print_line(f"  policy        {found.policy}, whose retention counts")
    if found.host is None:
        _show_content(found)
    for name in sorted(found.attachments):
        print_line(f"  attached      {name}, {size(found.attachment_sizes[name])}")
    for warning in found.warnings:
        print_line(f"  warning       {warning}")
    _show_marks(marks)
    show_scan(shown.scan)
    show_proofs(shown.proofs)
    for use in shown.uses:
        since = f" since {shown_second(use.since, zone)} {zone}" if use.since else ""
        print_line(f"  in use        {use}{since}; it is not deleted meanwhile, nor 10 minutes after a kill")


def _show_vm(found: RestorePoint) -> None:
    print_line(f"  VM            {shown_name(found.vm.name)} ({found.vm.inventory_path or found.vm.key})")
    if found.vm.moref is not None:
        print_line(f"  taken of      {found.vm.in_full}")


def _show_host(found: RestorePoint, host: HostRelease) -> None:
    """Show the host whose configuration a point holds, and the release that restores it."""
    at = f"{found.vm.moref} at {found.vm.server or found.vm.vcenter}"
    print_line(f"  host          {shown_name(found.vm.name)} ({at}), hardware UUID {host.uuid or 'unknown'}")
    print_line(f"  kind          host configuration, of {host.product or 'an unknown release'}")


def _show_content(found: RestorePoint) -> None:
    print_line(f"  kind          {found.kind}; mode {found.mode_used}, asked {found.mode_asked}")
    asked = QuiesceRequest(level=found.quiesce_asked, required=found.quiesce_required)
    print_line(
        f"  consistency   {found.consistency}; quiesce asked {asked}, used {found.quiesce_used or 'not recorded'}"
    )
    for change in found.changes:
        print_line(f"  changed       {change}")
    if found.guest_commands is not None:
        print_line(f"  in the guest  {found.guest_commands}")
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
    print_table(
        ("--disk", "key", "label", "address", "capacity", "backing", "RDM mode", "read by", "copied"),
        rows,
        none="the point has no disk",
    )
    for disk in found.disks:
        if disk.encryption:
            print_line(f"  encrypted     {disk.address} by vSphere, with {disk.encryption}; the point holds it without")
    for image in found.images:
        if image.access is not None:
            print_line(f"  read          {image.disk.address} by {_way(image.access)}")
        if image.lun is not None:
            print_line(
                f"  LUN           {image.disk.address} from {image.lun.name}, consistency {image.lun.consistency}"
            )


def _show_marks(marks: Marks) -> None:
    if marks.pin is not None:
        since = f" on {marks.pin.since:%Y-%m-%d}" if marks.pin.since else ""
        print_line(
            f"  {short_marks(Marks(pin=marks.pin))}, by {marks.pin.by}{since}: {marks.pin.reason or 'no reason given'}"
        )
    if marks.damage is not None:
        print_line(f"  DAMAGED       {marks.damage.reason}")
        for lost in marks.damage.lost:
            places = ", ".join(f"bytes {extent.start}–{extent.stop - 1}" for extent in lost.extents) or "all of it"
            print_line(f"  lost          {lost.name}: {places}")
        if not marks.damage.lost:
            print_line("  lost          not known; restore it elsewhere to see what is left")
    if marks.suspicion is not None:
        since = f" since {marks.suspicion.since:%Y-%m-%d}" if marks.suspicion.since else ""
        print_line(
            f"  SUSPECT       {', '.join(marks.suspicion.disks) or 'all disks'}{since}: {marks.suspicion.reason}"
        )
    if marks.trust is not None:
        since = f" on {marks.trust.since:%Y-%m-%d}" if marks.trust.since else ""
        print_line(f"  trusted       by {marks.trust.by}{since}, after it was suspect: {marks.trust.reason}")


def _way(access: AccessUsed) -> str:
    """Return the way by which a disk was read, with the reasons."""
    why = f" ({access.why_transport})" if access.why_transport else ""
    return f"{access.transport}{why} with {access.library}: {access.why}"


def _transport(image: DiskImage | None) -> str:
    """Return the transport that a disk was read by, and the ones that were allowed where others were preferred."""
    if image is None or image.transport is None:
        return ""
    asked = image.transports_asked
    if image.lun is not None or image.transport in asked[:1]:
        return image.transport
    return f"{image.transport} (asked {':'.join(asked)})"
