"""``vmkeep point pin``, ``unpin`` and ``trust``: marks that people put on restore points."""

from __future__ import annotations

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.point_marks import short_marks
from vmkeep.cli.retention_options import parse_end
from vmkeep.cli.who import who
from vmkeep.clock import now
from vmkeep.flows import points
from vmkeep.flows.points import Marks
from vmkeep.model.job import to_plain


@command(
    "pin",
    examples={
        "Hold a point for 90 days": "vmkeep point pin latest:app01 --until 90d --reason 'before the upgrade'",
        "Hold a point until somebody unpins it": "vmkeep point pin latest:app01 --reason 'case 4711'",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option("--reason", section=Section.WHAT, default="", metavar="TEXT", help="The reason, for people who ask later.")
@option(
    "--until",
    section=Section.WHAT,
    metavar="TIME",
    help="End of the hold: after 90d, 8w or 2y, at the end of a date (UTC), or at a time; by default it has none.",
)
@repository_option
@json_option
def pin(repository: str | None, ref: str, reason: str, until: str | None, as_json: bool) -> None:
    """Hold a restore point (legal hold).

    No retention rule removes it until it is unpinned, or the hold ends.
    """
    end = parse_end(until, now=now()) if until else None
    with open_given(repository) as opened:
        found, made = points.pin(opened, ref, reason=reason, by=who(), until=end)
    if as_json:
        print_json({"ref": found, **to_plain(made)})
        return
    click.echo(f"{found} is {short_marks(Marks(pin=made))}")


@command("unpin", examples={"End the hold of a point": "vmkeep point unpin latest:app01"})
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@repository_option
@json_option
def unpin(repository: str | None, ref: str, as_json: bool) -> None:
    """End the hold of a restore point."""
    with open_given(repository) as opened:
        found, was_pinned = points.unpin(opened, ref)
    if as_json:
        print_json({"ref": found, "was_pinned": was_pinned})
        return
    click.echo(f"{found} is not pinned any more" if was_pinned else f"{found} was not pinned")


@command(
    "trust",
    examples={
        "Take the mark SUSPECT off a point": "vmkeep point trust latest:app01 --reason 'its database was checked'"
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option("--reason", section=Section.WHAT, required=True, metavar="TEXT", help="The reason, for people who ask later.")
@repository_option
@json_option
def trust(repository: str | None, ref: str, reason: str, as_json: bool) -> None:
    """Take the mark SUSPECT off a restore point.

    Do this when you have compared its content. The reason stays with the point.
    """
    with open_given(repository) as opened:
        found, made = points.trust(opened, ref, reason=reason, by=who())
    if as_json:
        print_json({"ref": found, "was_suspect": made is not None})
        return
    click.echo(f"{found} is not suspect any more" if made is not None else f"{found} was not suspect")
