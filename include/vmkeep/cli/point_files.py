"""``vmkeep point files``: the files in a restore point, without a restore."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.countline import CountLine, count_line
from vmkeep.cli.filewords import file_document, long_line, parse_file_size, shown_path
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_json_line, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.retention_options import parse_time
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import CorruptError
from vmkeep.model.guestfiles import FileKind
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.point_file_list import DescribedFile, ListedFile

lines_option = option("--json", "as_json", is_flag=True, help="Print one JSON document for each entry, each on a line.")


@click.group(
    cls=Verbs,
    late={
        "diff": "vmkeep.cli.point_files_diff:diff",
        "get": "vmkeep.cli.point_files_get:get",
        "give": "vmkeep.cli.point_files_give:give",
        "index": "vmkeep.cli.point_files_index:index",
        "search": "vmkeep.cli.point_files_index:search",
    },
)
def files() -> None:
    """List, search, fetch and compare the files in restore points, without a restore."""


@files.command("volumes", examples={"List the volumes of a point": "vmkeep point files volumes latest:app01"})
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@repository_option
@json_option
def volumes(ref: str, repository: str | None, as_json: bool) -> None:
    """List the volumes in a restore point, with the names by which the other commands take them.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. Of a volume whose
    files cannot be read, the state says why, and what to do.
    """
    from vmkeep.flows.point_files import open_point_files  # takes time to import

    with open_given(repository) as opened, open_point_files(opened, ref, doing="listing volumes", tell=warn) as found:
        shown, point, warnings = found.volumes, found.point.ref, found.warnings
    if as_json:
        print_json({"point": point, "warnings": warnings, "volumes": shown})
        return
    for volume in shown:
        for warning in volume.warnings:
            warn(f"{volume.name}: {warning}")
    print_table(
        ("volume", "size", "kind", "label", "files", "state"),
        [
            (each.name, size(each.size), each.kind, each.label, "yes" if each.has_files else "no", each.state)
            for each in shown
        ],
        none="the point has no volume",
    )


@files.command(
    "ls",
    examples={
        "List a folder": "vmkeep point files ls latest:app01 disk0p1:/etc",
        "List everything below it, with SHA-256, for a script": "vmkeep point files ls -R --sha256 latest:app01 "
        "rootvg/home:/anna --json",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("place", metavar="VOLUME:/PATH")
@option("-R", "--recursive", section=Section.WHAT, is_flag=True, help="Also list the folders below.")
@option("-l", "--long", section=Section.WHAT, is_flag=True, help="Show mode, owner, size and time.")
@option("--sha256", section=Section.WHAT, is_flag=True, help="Read each file, and show the SHA-256 of its content.")
@repository_option
@lines_option
def ls(ref: str, place: str, recursive: bool, long: bool, sha256: bool, repository: str | None, as_json: bool) -> None:
    """List a folder in a restore point, or one file.

    Characters in names that a terminal would obey or hide are shown as escapes. An entry that cannot be read is named,
    the rest is listed, and the exit code is 90.
    """
    from vmkeep.flows.point_file_list import list_files
    from vmkeep.flows.point_files import open_point_files, parse_file_path  # takes time to import

    at = parse_file_path(place)
    with (
        open_given(repository) as opened,
        count_line(hidden=as_json, of_bytes=sha256) as line,
        open_point_files(opened, ref, doing="listing files", tell=line.warn) as found,
    ):
        listed = list_files(found, at, recursive=recursive, sha256=sha256, on_progress=line.show)
        _print(listed, line, as_json=as_json, long=long, whole=recursive)


@files.command(
    "find",
    examples={
        "Find spreadsheets on one volume": "vmkeep point files find latest:app01 disk0p2:/Users --name '*.xlsx' -i",
        "Find large files that changed this month, on all volumes": "vmkeep point files find latest:app01 "
        "--larger 1GiB --newer 2026-11-01",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("place", metavar="[VOLUME:/PATH]", required=False)
@option(
    "--name", section=Section.WHAT, metavar="PATTERN",
    help="Only these names: * is any characters, ? is one. With a slash in it, it is compared with the whole path.",
)  # fmt: skip
@option("-i", "--ignore-case", section=Section.WHAT, is_flag=True, help="Take a and A for one letter, in names.")
@option("--newer", section=Section.WHAT, metavar="TIME", help="Only what was changed after this date or time.")
@option("--older", section=Section.WHAT, metavar="TIME", help="Only what was changed before this date or time.")
@option("--larger", section=Section.WHAT, metavar="SIZE", help="Only files that are larger, e.g. than 10MiB.")
@option("--smaller", section=Section.WHAT, metavar="SIZE", help="Only files that are smaller.")
@option(
    "--kind", section=Section.WHAT, type=click.Choice([str(each) for each in FileKind]), help="Only entries of a kind."
)
@option("-l", "--long", section=Section.WHAT, is_flag=True, help="Show mode, owner, size and time.")
@repository_option
@lines_option
def find(
    ref: str,
    place: str | None,
    name: str | None,
    ignore_case: bool,
    newer: str | None,
    older: str | None,
    larger: str | None,
    smaller: str | None,
    kind: str | None,
    long: bool,
    repository: str | None,
    as_json: bool,
) -> None:
    """Find files in a restore point by name, time, size and kind.

    Without VOLUME:/PATH, all volumes with files are searched. See 'point files search' for a search over many points.
    """
    from vmkeep.flows.point_file_list import Wanted, find_files
    from vmkeep.flows.point_files import FilePath, open_point_files, parse_file_path

    zone = shown_zone()
    wanted = Wanted(
        name=name,
        ignore_case=ignore_case,
        newer=parse_time(newer, zone) if newer else None,
        older=parse_time(older, zone) if older else None,
        larger=parse_file_size(larger) if larger else None,
        smaller=parse_file_size(smaller) if smaller else None,
        kind=FileKind(kind) if kind else None,
    )
    wanted.test()
    with (
        open_given(repository) as opened,
        count_line(hidden=as_json) as line,
        open_point_files(opened, ref, doing="finding files", tell=line.warn) as found,
    ):
        places = [parse_file_path(place)] if place else [
            FilePath(volume=volume.name, path="/") for volume in found.volumes if volume.has_files
        ]  # fmt: skip
        for volume in () if place else found.volumes:
            if volume.may_hide_files and not volume.has_files:
                warn(f"{volume.name} is not searched: {volume.reason}")
        listed = find_files(found, places, wanted, on_progress=line.show)
        count = _print(listed, line, as_json=as_json, long=long, whole=True)
        line.erase()
        click.echo(f"{counted(count, 'entry', 'entries')} found in {counted(len(places), 'volume')}", err=True)


@files.command("stat", examples={"Show all about one file": "vmkeep point files stat latest:app01 disk0p1:/etc/shadow"})
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("place", metavar="VOLUME:/PATH")
@repository_option
@json_option
def stat(ref: str, place: str, repository: str | None, as_json: bool) -> None:
    """Show all that is known about one file or folder in a restore point.

    With --json, the values of extended attributes are base64, because they are bytes.
    """
    from vmkeep.flows.point_file_list import describe_file
    from vmkeep.flows.point_files import open_point_files, parse_file_path  # takes time to import

    at = parse_file_path(place)
    with open_given(repository) as opened, open_point_files(opened, ref, doing="reading files", tell=warn) as found:
        described, point = describe_file(found, at), found.point.ref
    if as_json:
        attributes = {name: base64.b64encode(value).decode() for name, value in described.attributes.items()}
        print_json(
            {
                "point": point,
                **file_document(described.volume, described.entry),
                "bytes_of_data": described.bytes_of_data,
                "attributes": attributes,
                "warnings": described.warnings,
            }
        )
    else:
        _show(described)


def _print(listed: Iterable[ListedFile], line: CountLine, *, as_json: bool, long: bool, whole: bool) -> int:
    """Print entries as they come, and return their number.

    :param line: counts meanwhile.
    :param whole: show whole paths.
    :raises CorruptError: some could not be read.
    """
    zone, bad, count = shown_zone(), 0, 0
    for each in listed:
        entry = each.entry
        count += 1
        bad += bool(each.problem)
        if as_json:
            print_json_line(file_document(each.volume, entry, sha256=each.sha256, problem=each.problem))
            continue
        path = f"{each.volume}:{entry.path}" if whole else entry.name
        name = shown_path(path) + ("/" if entry.kind is FileKind.FOLDER and not path.endswith("/") else "")
        shown = long_line(entry, zone, name=name) if long else name
        if each.problem:
            line.warn(f"{shown}: {each.problem}")
            continue
        line.echo(f"{each.sha256}  {shown}" if each.sha256 else shown)
    if bad:
        raise CorruptError(
            f"the listing is not whole: {counted(bad, 'entry', 'entries')} could not be read; each is named above"
        )
    return count


def _show(described: DescribedFile) -> None:
    entry, zone = described.entry, shown_zone()
    click.echo(shown_path(f"{described.volume}:{entry.path}"))
    click.echo(f"  kind        {entry.kind}")
    if entry.target is not None:
        click.echo(f"  leads to    {shown_path(entry.target)}")
    if described.bytes_of_data is not None:
        click.echo(f"  size        {entry.size} bytes, {described.bytes_of_data} of them not in holes")
    if entry.mode is not None:
        click.echo(f"  mode        {entry.mode:04o}")
    if entry.uid is not None:
        click.echo(f"  owner       user {entry.uid}, group {entry.gid}")
    for word, moment in (("modified", entry.modified), ("changed", entry.changed), ("created", entry.created)):
        if moment is not None:
            click.echo(f"  {word:<10}  {shown_second(moment, zone)} {zone}")
    if entry.links > 1:
        click.echo(f"  names       {entry.links}")
    for name, value in described.attributes.items():
        text = shown_path(value.decode("utf-8", "surrogateescape"))
        click.echo(f"  attribute   {shown_path(name)} = {text}")
