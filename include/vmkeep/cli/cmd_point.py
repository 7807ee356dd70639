"""``vmkeep point``: restore points."""

from __future__ import annotations

import click

from vmkeep.cli.pages import Verbs


@click.group(
    cls=Verbs,
    late={
        "apply": "vmkeep.cli.point_apply:apply",
        "boot": "vmkeep.cli.point_boot:boot",
        "delete": "vmkeep.cli.point_delete:delete",
        "export": "vmkeep.cli.point_export:export",
        "files": "vmkeep.cli.point_files:files",
        "list": "vmkeep.cli.point_list:list_points",
        "pin": "vmkeep.cli.point_holds:pin",
        "retention": "vmkeep.cli.point_retention:retention",
        "scan": "vmkeep.cli.point_scan:scan",
        "serve": "vmkeep.cli.point_serve:serve",
        "show": "vmkeep.cli.point_show:show",
        "trust": "vmkeep.cli.point_holds:trust",
        "unpin": "vmkeep.cli.point_holds:unpin",
        "verify": "vmkeep.cli.point_verify:verify",
    },
)
def point() -> None:
    """List, show, verify, scan, boot, export, pin and delete restore points; fetch their files."""
