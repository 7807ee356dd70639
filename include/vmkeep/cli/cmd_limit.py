"""``vmkeep limit``: the limits on work at the same time, with the work that uses them and the work that waits."""

from __future__ import annotations

from datetime import datetime

import click

from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Verbs
from vmkeep.clock import now
from vmkeep.model.wording import age

_FIRST_TO_GO = ("set by", "in use by", "waiting")
"""Columns that a narrow terminal does without, in this order."""


@click.group(cls=Verbs)
def limit() -> None:
    """Show the limits on work at the same time, who uses them, and who waits."""


@limit.command("list", examples={"Show who uses the limits now, and who waits": "vmkeep limit list -r /backup/repo"})
@repository_option
@json_option
def list_limits(repository: str | None, as_json: bool) -> None:
    """Show each limit that runs have used of late: its number, the work that uses it, and the work that waits.

    The number is that of the run which asked last, and the word in column 'set by' sets it. The work that has waited
    longest comes first.
    """
    with open_given(repository) as opened:
        usages = opened.usages()
    if as_json:
        print_json(usages)
        return
    at = now()

    def seconds(since: datetime) -> float:
        return max((at - since).total_seconds(), 0)

    rows = [
        (
            use.limit.name,
            use.limit.setting,
            use.limit.most,
            len(use.holders),
            len(use.waiting),
            ", ".join(use.holders),
            ", ".join(f"{what} ({age(seconds(since))})" for what, since in zip(use.waiting, use.since, strict=True)),
        )
        for use in usages
    ]
    print_table(
        ("limit", "set by", "most", "used", "queue", "in use by", "waiting"),
        rows,
        first_to_go=_FIRST_TO_GO,
        none="no run has used a limit of late",
    )
