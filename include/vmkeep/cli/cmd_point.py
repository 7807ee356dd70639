"""``vmkeep point``: restore points."""

from __future__ import annotations

import click

from vmkeep.cli.pages import Verbs
from vmkeep.cli.point_apply import apply
from vmkeep.cli.point_boot import boot
from vmkeep.cli.point_delete import delete
from vmkeep.cli.point_export import export
from vmkeep.cli.point_files import files
from vmkeep.cli.point_holds import pin, trust, unpin
from vmkeep.cli.point_list import list_points
from vmkeep.cli.point_retention import retention
from vmkeep.cli.point_scan import scan
from vmkeep.cli.point_serve import serve
from vmkeep.cli.point_show import show
from vmkeep.cli.point_verify import verify


@click.group(cls=Verbs)
def point() -> None:
    """List, show, verify, scan, boot, export, pin and delete restore points; fetch their files."""


for verb in (
    apply, boot, delete, export, files, list_points, pin, retention, scan, serve, show, trust, unpin, verify,
):  # fmt: skip
    point.add_command(verb)
