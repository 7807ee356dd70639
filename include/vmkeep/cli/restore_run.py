"""``vmkeep restore run``: restore a VM over an existing one, or to a new one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import (
    VSPHERE_NAMES,
    json_option,
    repository_option,
    site_from,
    transports_option,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, progress_bars, rate, warn
from vmkeep.cli.pages import command
from vmkeep.cli.restore_options import restore_options
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_mapping import read_mapping_file
from vmkeep.flows.restore_request import RestoreRequest, make_request
from vmkeep.flows.restore_values import Restored
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep.model.transport import parse_modes
from vmkeep.model.wording import counted, size


@command(
    "run",
    examples={
        "Write the newest point over the VM it was taken of": "vmkeep restore run latest:app01 --on-conflict overwrite",
        "Write one disk back, and leave the others as they are": "vmkeep restore run latest:app01 --disks scsi0:1 "
        "--on-conflict overwrite",
        "Restore to a new VM": "vmkeep restore run latest:app01 --new-name app01-copy",
        "Restore to a new VM elsewhere": "vmkeep restore run latest:app01 --new-name app01-dr --host esx2.example.com "
        "--datastore ds2 --network 'VM Network=none'",
        "Restore as an edited mapping says": "vmkeep restore run latest:app01 --mapping app01.yaml",
        "Show what a restore would do, and change nothing": "vmkeep restore run latest:app01 --on-conflict overwrite "
        "--dry-run",
    },
)
@click.argument("point", metavar="POINT", shell_complete=complete_points)
@restore_options
@repository_option
@vsphere_options
@vddk_option
@transports_option
@json_option
def run(
    point: str, mapping: Path | None, transports: str, repository: str | None, vddk: str | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Restore a VM from a restore point.

    POINT is a ref as 'point list' prints it, the beginning of its id, or latest:VM.
    """
    vsphere = {name: options.pop(name) for name in VSPHERE_NAMES}
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = make_request(
        point=point,
        run=f"cli-{uuid.uuid4().hex[:12]}",
        mapping=read_mapping_file(mapping) if mapping is not None else "",
        transports=parse_modes(transports),
        **options,
    )
    if request.dry_run:
        _print_plan(site, request, as_json=as_json)
        return
    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        done = run_restore(
            site,
            request,
            bars=bars,
            announce=warn,
            show=lambda line: None if as_json else click.echo(one_line(line), err=True),
        )
    print_restored(done, time.monotonic() - started, as_json=as_json)


def print_restored(done: Restored, seconds: float, *, as_json: bool) -> None:
    """Print the result of a restore."""
    if as_json:
        print_json({**to_plain(done), "duration_seconds": round(seconds, 3)})
        return
    for line in _outcome(done, seconds):
        click.echo(line)


def _outcome(done: Restored, seconds: float) -> Iterator[str]:
    vm = one_line(str(done.vm))
    if done.kept:
        yield f"nothing was restored: VM {vm} exists and was kept"
        return
    written = f"{counted(done.disks_written, 'disk')}, {size(done.bytes_written)} written"
    yield (
        f"VM {vm} {'created' if done.created else 'restored'} from {done.point}: "
        f"{written}, {rate(done.bytes_written, seconds)}{', powered on' if done.powered_on else ''}"
    )
    for one in done.disks:
        if one.why_blocks:
            yield one_line(f"{one.label} ({one.address}): {one.blocks} blocks, because {one.why_blocks}")
    if done.undo is not None:
        yield f"snapshot {done.undo} is kept: 'vmkeep restore undo' goes back to it, 'restore accept' removes it"


def _print_plan(site: Site, request: RestoreRequest, *, as_json: bool) -> None:
    """Make the plan and print it. Nothing is changed."""
    plan = plan_restore(site, request)
    if as_json:
        print_json(
            {"dry_run": True, "lines": list(plan_lines(plan)), "warnings": list(plan.warnings), "plan": to_plain(plan)}
        )
        return
    for line in plan_lines(plan):
        click.echo(one_line(line))
    for warning in plan.warnings:
        warn(warning)
    click.echo("nothing was changed")
