"""``vmkeep limit``: the limits on work at the same time, with the work that uses them and the work that waits."""

from __future__ import annotations

import click

from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Verbs

_FIRST_TO_GO = ("in use by", "waiting")
"""Columns that a narrow terminal does without, in this order."""


@click.group(cls=Verbs)
def limit() -> None:
    """Show the limits on work at the same time, who uses them, and who waits."""


@limit.command("list", examples={"Show who uses the limits now, and who waits": "vmkeep limit list -r /backup/repo"})
@repository_option
@json_option
def list_limits(repository: str | None, as_json: bool) -> None:
    """Show each limit that runs have used of late: its number, the work that uses it, and the work that waits.

    The work that has waited longest comes first.
    """
    with open_given(repository) as opened:
        usages = opened.usages()
    if as_json:
        print_json(usages)
        return
    rows = [
        (
            use.limit.name,
            use.limit.most,
            len(use.holders),
            len(use.waiting),
            ", ".join(use.holders),
            ", ".join(use.waiting),
        )
        for use in usages
    ]
    print_table(("limit", "most", "used", "queue", "in use by", "waiting"), rows, first_to_go=_FIRST_TO_GO)
