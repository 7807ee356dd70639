"""``vmkeep catalog``: rebuild the SQL cache from the repository."""

from __future__ import annotations

import click

from vmkeep.cli.left_out import tell_left_out
from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import Verbs
from vmkeep.flows import pointlist
from vmkeep.model.wording import counted


@click.group(cls=Verbs)
def catalog() -> None:
    """Rebuild the SQL cache of restore points."""


@catalog.command("rebuild", examples={"Read every manifest again": "vmkeep catalog rebuild -r /backup/repo"})
@repository_option
@json_option
def rebuild(repository: str | None, as_json: bool) -> None:
    """Empty the catalog for this repository, and read every manifest again.

    The exit code is 90 when a manifest is damaged.
    """
    with open_given(repository) as opened:
        refreshed = pointlist.rebuild_catalog(opened, catalog=catalog_url())
    if as_json:
        print_json(refreshed)
    else:
        click.echo(f"{counted(refreshed.added, 'restore point')} entered, {len(refreshed.damaged)} damaged")
    tell_left_out(refreshed)
