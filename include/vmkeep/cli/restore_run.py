"""``vmkeep restore run``: restore a VM over an existing one, or to a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vmkeep.cli.bars import progress_bars
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
from vmkeep.cli.output import one_line, warn
from vmkeep.cli.pages import command
from vmkeep.cli.point_scan import places_of
from vmkeep.cli.restore_options import restore_options
from vmkeep.cli.restore_steps import carry_out, new_run, restored_words, show_plan
from vmkeep.cli.who import who
from vmkeep.model.job import to_plain
from vmkeep.model.transport import parse_modes


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
        "Restore a point only if no malware is in it": "vmkeep restore run latest:app01 --new-name app01-copy "
        "--scan refuse",
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

    POINT is a ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM.
    """
    from vmkeep.flows.complete_runs import run_restore  # takes time to import
    from vmkeep.flows.restore import plan_restore
    from vmkeep.flows.restore_mapping import read_mapping_file
    from vmkeep.flows.restore_request import make_request
    from vmkeep.flows.restore_wording import plan_lines
    from vmkeep.flows.scan_first import scan_first

    vsphere = {name: options.pop(name) for name in VSPHERE_NAMES}
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = make_request(
        point=point,
        run=new_run(),
        mapping=read_mapping_file(mapping) if mapping is not None else "",
        transports=parse_modes(transports),
        **options,
    )
    with progress_bars(hidden=as_json) as bars:
        request = scan_first(site, request, places_of(None, ()), on_progress=bars, tell=_tell, by=who())
    if request.dry_run:
        plan = plan_restore(site, request)
        lines = plan_lines(plan)
        document = {"dry_run": True, "lines": list(lines), "warnings": list(plan.warnings), "plan": to_plain(plan)}
        show_plan(lines, plan.warnings, document, as_json=as_json)
    else:
        carry_out(
            lambda bars, show: run_restore(site, request, bars=bars, announce=warn, show=show),
            restored_words,
            as_json=as_json,
        )


def _tell(line: str) -> None:
    click.echo(one_line(line), err=True)
