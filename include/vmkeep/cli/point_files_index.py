"""``vmkeep point files index`` and ``search``: names of files in many restore points."""

from __future__ import annotations

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.countline import count_line
from vmkeep.cli.filewords import as_document, shown_path
from vmkeep.cli.options import json_option, open_given, repository_option, selector_option
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.model.wording import counted, size

_NAMED = 10
"""Points without an index, and volumes with a problem, that are named to a person."""


@command("index", examples={"Make the index of one point": "vmkeep point files index latest:app01"})
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@repository_option
@json_option
def index(ref: str, repository: str | None, as_json: bool) -> None:
    """Make the index of all files in a restore point, for 'point files search'.

    It is kept with the point, and goes with it. A policy with 'verification: {file_index: true}' has it made after each
    backup.
    """
    from vmkeep.flows.point_file_index import index_files  # takes time to import

    with open_given(repository) as opened, count_line(hidden=as_json) as line:
        head = index_files(opened, ref, tell=line.warn, on_progress=line.show)
    if as_json:
        print_json(as_document(head))
        return
    for volume in head.volumes:
        if volume.problem:
            warn(f"{volume.name}: {volume.problem}")
    click.echo(f"{head.point}: {counted(head.entries, 'entry', 'entries')} of {counted(len(head.volumes), 'volume')}")


@command(
    "search",
    examples={
        "Find all versions of a file in all points": "vmkeep point files search 'budget 2026.xlsx'",
        "Find spreadsheets of some VMs, in any case of letters": "vmkeep point files search -s 'name:file*' "
        "-i '*.xls*'",
    },
)
@click.argument("pattern", metavar="PATTERN")
@selector_option("Only points of these VMs.")
@option("-i", "--ignore-case", section=Section.WHAT, is_flag=True, help="Take a and A for one letter.")
@repository_option
@json_option
def search(pattern: str, selector: str | None, ignore_case: bool, repository: str | None, as_json: bool) -> None:
    """Find files by name in all restore points that have an index.

    In PATTERN, * is any characters and ? is one. With a slash in it, it is compared with the whole path. A version of a
    file is shown once, with the newest point that has it. Points without an index are named; see 'point files index'.
    """
    from vmkeep.flows.point_file_index import search_files  # takes time to import

    with open_given(repository) as opened:
        found = search_files(opened, pattern, ignore_case=ignore_case, selector=selector)
    for problem in found.problems[:_NAMED]:
        warn(problem)
    if len(found.problems) > _NAMED:
        warn(f"{len(found.problems) - _NAMED:,} more volumes whose files are in no index; --json names all")
    if as_json:
        print_json(as_document(found))
        return
    zone = shown_zone()
    print_table(
        ("VM", "file", "size", f"changed ({zone})", "in points", "newest of them"),
        [
            (
                each.vm, shown_path(f"{each.volume}:{each.path}"), size(each.size),
                "" if each.modified is None else shown_second(each.modified, zone), each.points, each.last,
            )
            for each in found.versions
        ],
        none="no file of that name is in an index",
    )  # fmt: skip
    without = found.without_index
    if without:
        named = ", ".join(without[:_NAMED]) + (" …" if len(without) > _NAMED else "")
        warn(f"{counted(len(without), 'point')} without an index not searched: {named}")
    click.echo(
        f"{counted(len(found.versions), 'version')} in {counted(found.searched, 'point')} with an index", err=True
    )
