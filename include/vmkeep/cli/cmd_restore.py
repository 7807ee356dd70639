"""``vmkeep restore``: restore VMs and disks without Airflow."""

from __future__ import annotations

import click

from vmkeep.cli.pages import Verbs
from vmkeep.mapping import schema_text


@click.group(
    cls=Verbs,
    late={
        "accept": "vmkeep.cli.restore_undo:accept",
        "disk": "vmkeep.cli.restore_disk:disk",
        "resume": "vmkeep.cli.restore_resume:resume",
        "run": "vmkeep.cli.restore_run:run",
        "undo": "vmkeep.cli.restore_undo:undo",
    },
)
def restore() -> None:
    """Restore VMs, and single disks of them."""


@restore.command(
    "schema", examples={"Keep the schema for an editor": "vmkeep restore schema > vmkeep-mapping.schema.json"}
)
def schema() -> None:
    """Print the JSON schema of a mapping: every field and its meaning.

    Editors that know JSON schemas check and complete mappings with it.
    """
    click.echo(schema_text(), nl=False)
