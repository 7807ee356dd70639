"""``vmkeep restore``: restore VMs and disks without Airflow."""

from __future__ import annotations

import click

from vmkeep.cli.pages import Verbs
from vmkeep.cli.restore_disk import disk
from vmkeep.cli.restore_resume import resume
from vmkeep.cli.restore_run import run
from vmkeep.cli.restore_undo import accept, undo
from vmkeep.mapping import schema_text


@click.group(cls=Verbs)
def restore() -> None:
    """Restore VMs, and single disks of them."""


for verb in (run, resume, disk, undo, accept):
    restore.add_command(verb)


@restore.command(
    "schema", examples={"Keep the schema for an editor": "vmkeep restore schema > vmkeep-mapping.schema.json"}
)
def schema() -> None:
    """Print the JSON schema of a mapping: every field and its meaning.

    Editors that know JSON schemas check and complete mappings with it.
    """
    click.echo(schema_text(), nl=False)
