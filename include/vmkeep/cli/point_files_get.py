"""``vmkeep point files get``: a file or a folder out of a restore point."""

from __future__ import annotations

import time

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_points
from vmkeep.cli.filewords import as_document, shown_path
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.streams import data_output, require_output
from vmkeep.errors import Recovery, SomeFailedError, UsageError
from vmkeep.model.fetched import FetchedFiles, FetchForm
from vmkeep.model.wording import counted, size

_STREAM = "-"


@command(
    "get",
    examples={
        "Fetch one file": "vmkeep point files get latest:app01 disk0p1:/etc/hosts hosts.old",
        "Fetch a folder": "vmkeep point files get latest:app01 rootvg/home:/anna /srv/anna",
        "Fetch a folder with owners and attributes, without being root": "vmkeep point files get latest:app01 "
        "rootvg/home:/anna anna.tar",
        "Unpack a folder on another machine": "vmkeep point files get latest:app01 disk0p1:/etc - --format tar",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("place", metavar="VOLUME:/PATH")
@click.argument("out", metavar="OUT")
@option(
    "--format", "form", section=Section.WHAT, type=click.Choice([str(each) for each in FetchForm]),
    help="Form of the result. [default: by OUT's ending .tar or .zip; else a file as it is, a folder as a folder]",
)  # fmt: skip
@option(
    "--keep-going", section=Section.WHAT, is_flag=True,
    help="Leave out files that cannot be read, list them, and end with exit code 14.",
)  # fmt: skip
@repository_option
@json_option
def get(
    ref: str, place: str, out: str, form: str | None, keep_going: bool, repository: str | None, as_json: bool
) -> None:
    """Fetch a file, or a folder with everything in it, out of a restore point.

    OUT is a path that is free, or a folder in which the name is free; - is standard output, for a single file or an
    archive. Every block is checked, the result is read back, and it gets its name when it is complete. Nothing in the
    guest's names leads out of OUT, no link is followed, and devices are not made.

    A tar archive keeps owners, modes, times, attributes, links and holes. A folder keeps what this user may write;
    what is missing is listed. A zip archive keeps names, content, modes and times.
    """
    from vmkeep.flows.point_file_fetch import FetchRequest, fetch_files  # takes time to import

    if out == _STREAM and as_json:
        raise UsageError("--json prints on standard output, which the file takes: leave one of both out")
    if out == _STREAM:
        require_output()
    request = FetchRequest(
        point=ref, source=place, out=out, form=None if form is None else FetchForm(form), keep_going=keep_going
    )
    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        fetched = fetch_files(opened, request, stream=_write, tell=warn, on_progress=bars(place))
    if out == _STREAM:
        data_output().flush()
    if as_json:
        print_json({**as_document(fetched), "duration_seconds": round(time.monotonic() - started, 3)})
    else:
        _show(fetched, time.monotonic() - started)
    if fetched.failed:
        raise SomeFailedError(
            f"{counted(fetched.failed, 'file')} of {shown_path(place)} could not be fetched; each is named above",
            recovery=Recovery.STOP,
        )


def _write(data: bytes | memoryview) -> object:
    return data_output().write(data)


def _show(fetched: FetchedFiles, seconds: float) -> None:
    """Show the result on standard error, because standard output may be the file."""
    for failure in fetched.failures:
        warn(f"{shown_path(failure.path)}: {failure.why}")
    if fetched.failed > len(fetched.failures):
        warn(f"and {fetched.failed - len(fetched.failures)} more")
    for left in fetched.left_out:
        entries = counted(left.count, "entry", "entries")
        warn(f"not written for {entries}, e.g. {shown_path(left.example)}: {left.reason}")
    parts = [
        counted(number, word)
        for number, word in (
            (fetched.files, "file"), (fetched.folders, "folder"), (fetched.symlinks, "symbolic link"),
            (fetched.hard_links, "hard link"),
        )
        if number
    ]  # fmt: skip
    data = f"{size(fetched.bytes_of_files)}, {size(fetched.bytes_of_data)} of it data"
    click.echo(
        f"{shown_path(fetched.out)}: {', '.join(parts) or 'nothing'}, {data}, {rate(fetched.bytes_of_data, seconds)}",
        err=fetched.out == _STREAM,
    )
