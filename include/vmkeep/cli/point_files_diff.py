"""``vmkeep point files diff``: the files that differ between two restore points."""

from __future__ import annotations

from collections import Counter

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.countline import count_line
from vmkeep.cli.filewords import as_document, shown_path
from vmkeep.cli.options import open_given, repository_option
from vmkeep.cli.output import print_json_line
from vmkeep.cli.pages import Section, command, option
from vmkeep.errors import CorruptError
from vmkeep.model.wording import counted

_SIGNS = {"appeared": "+", "changed": "~", "went": "-", "unknown": "?"}


@command(
    "diff",
    examples={
        "See the files that differ on all volumes": "vmkeep point files diff "
        "vm-503f/20261101T010203Z-ab12 latest:app01",
        "Read all of one folder in both points, for a script": "vmkeep point files diff ab12 latest:app01 "
        "disk0p1:/etc --sha256 --json",
    },
)
@click.argument("before", metavar="POINT1", shell_complete=complete_points)
@click.argument("after", metavar="POINT2", shell_complete=complete_points)
@click.argument("place", metavar="[VOLUME:/PATH]", required=False)
@option(
    "--sha256", section=Section.WHAT, is_flag=True,
    help="Read all files of equal size in both points, also those whose blocks are the same.",
)  # fmt: skip
@repository_option
@option("--json", "as_json", is_flag=True, help="Print one JSON document for each path that differs, each on a line.")
def diff(before: str, after: str, place: str | None, sha256: bool, repository: str | None, as_json: bool) -> None:
    """Show which files appeared (+), changed (~) or went (-) from one restore point to another.

    A file has changed if its size, time of change, mode, owner, target or content has. A renamed file went and
    appeared. A path that cannot be read in one of the points is shown with ?, and the exit code is 90.
    """
    from vmkeep.flows.point_file_diff import compare_files  # takes time to import

    counts: Counter[str] = Counter()
    with open_given(repository) as opened, count_line(hidden=as_json, of_bytes=sha256) as line:
        changes = compare_files(opened, before, after, at=place, sha256=sha256, tell=line.warn, on_progress=line.show)
        for change in changes:
            counts[change.change] += 1
            if as_json:
                print_json_line(as_document(change))
                continue
            what = change.problem or ", ".join(change.what)
            path = shown_path(f"{change.volume}:{change.path}")
            line.echo(f"{_SIGNS[change.change]} {path}{f'  ({shown_path(what)})' if what else ''}")
    if not as_json:
        click.echo(
            ", ".join(f"{counts[kind]:,} {kind}" for kind in _SIGNS if counts[kind]) or "no file differs", err=True
        )
    if counts["unknown"]:
        raise CorruptError(f"{counted(counts['unknown'], 'path')} could not be compared; each is named above")
