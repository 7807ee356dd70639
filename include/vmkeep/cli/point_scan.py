"""``vmkeep point scan``: the files of restore points, looked at by ClamAV and YARA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli import settings
from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option, selector_option
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.who import who
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.model.job import to_plain
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.malware import ScannedPoint, ScannerPlaces
    from vmkeep.flows.repositories import Repository

clamav_option = option(
    "--clamav", section=Section.HOW, setting=settings.CLAMAV, metavar="PLACE",
    help="ClamAV: the socket of clamd, HOST:PORT, or a folder of signatures, for which a clamd starts that ends with "
    "the scan. By default, if no --yara is given, that of this machine.",
)  # fmt: skip
yara_option = option(
    "--yara", section=Section.HOW, multiple=True, metavar="RULES",
    help="YARA rules: a file, or a folder of *.yar and *.yara. May be given several times.",
)  # fmt: skip


@command(
    "scan",
    examples={
        "Scan the newest point of web01": "vmkeep point scan latest:web01",
        "Scan the newest points of some VMs, only files that changed since the last clean one": "vmkeep point scan "
        "-s 'name:web*' --changed",
        "Look for one kind of malware": "vmkeep point scan latest:web01 --yara rules/",
        "Scan without a daemon": "vmkeep point scan latest:web01 --clamav /var/lib/clamav",
    },
)
@click.argument("refs", metavar="[POINT]...", nargs=-1, shell_complete=complete_points)
@selector_option("Scan the newest point of each VM that fits, e.g. 'name:web*'.")
@option(
    "--changed", section=Section.WHAT, is_flag=True,
    help="Only files that differ from the VM's last clean point; all files if there is none.",
)  # fmt: skip
@option(
    "--changed-since", "since", section=Section.WHAT, metavar="POINT", shell_complete=complete_points,
    help="Only files that differ from this older point of the VM.",
)  # fmt: skip
@option(
    "--volume", "volumes", section=Section.WHAT, multiple=True, metavar="VOLUME",
    help="Only this volume, as 'point files volumes' lists it; may be given several times. No point is clean by such a "
    "scan.",
)  # fmt: skip
@clamav_option
@yara_option
@repository_option
@json_option
def scan(
    refs: tuple[str, ...],
    selector: str | None,
    changed: bool,
    since: str | None,
    volumes: tuple[str, ...],
    clamav: str | None,
    yara: tuple[str, ...],
    repository: str | None,
    as_json: bool,
) -> None:
    """Look for malware in the files of restore points, without a restore.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. The outcome is
    kept with the point: 'point show' and 'vm clean' tell it, and a restore warns of a find.

    The exit code is 95 if something was found, and 97 if a volume could not be read. Files that no scanner takes, e.g.
    those of more than 512 MiB and encrypted archives, are listed as not scanned.
    """
    from vmkeep.flows import malware  # takes time to import

    if bool(refs) == (selector is not None):
        raise UsageError("say which points to scan: POINT, or -s SELECTOR for the newest point of each VM that fits")
    wish = malware.ScanWish(changed=changed, since=since, volumes=volumes)
    with open_given(repository) as opened:
        chosen = _chosen(opened, refs, selector)
        with (
            malware.open_point_scanner(opened, places_of(clamav, yara), by=who()) as scanner,
            progress_bars(hidden=as_json) as bars,
        ):
            done = scanner.scan_each(chosen, wish, on_progress=bars, tell=warn, on_done=_drop if as_json else show)
    unread = {ref: str(error) for ref, error in done.unread.items()}
    for ref, why in unread.items():
        warn(f"{ref} could not be scanned: {why}")
    if as_json:
        told = [{"point": ref, "problem": why} for ref, why in unread.items()]
        print_json({"points": [plain(each) for each in done.scanned], "unread": told})
    done.require_clean()


def _chosen(repository: Repository, refs: tuple[str, ...], selector: str | None) -> tuple[str, ...]:
    """Return the refs of the points to scan.

    :raises NotFoundError: no VM fits the selector.
    """
    if selector is None:
        return refs
    from vmkeep.flows.point_choice import newest_points, parse_point_selector  # takes time to import

    chosen = tuple(each.ref for each in newest_points(repository, parse_point_selector(selector)))
    if not chosen:
        raise NotFoundError(f"no VM with a restore point in {repository.location} fits '{selector}'")
    return chosen


def places_of(clamav: str | None, yara: tuple[str, ...]) -> ScannerPlaces:
    """Return the scanners that the options name, or else the environment and the configuration file."""
    from vmkeep.cli.configuration import value_of
    from vmkeep.flows.malware import places_from

    return places_from(clamav, yara or tuple(filter(None, (value_of(settings.YARA) or "").split(":"))))


def plain(done: ScannedPoint) -> dict[str, Any]:
    """Return the outcome of a scan as a JSON document."""
    return {
        **to_plain(done),
        "result": str(done.result),
        "files": done.files,
        "found": done.found,
        "not_scanned": done.left,
    }


def show(done: ScannedPoint) -> None:
    """Print the outcome of a scan."""
    click.echo(f"{done.point} of {shown_name(done.vm)}: {one_line(done.line)}")
    for facts in done.scanners:
        click.echo(f"  scanner       {facts.line}")
    since = f", changed since {done.since}" if done.since else ""
    read = sum(volume.bytes_scanned for volume in done.volumes)
    click.echo(f"  scope         {done.scope}{since}; {size(read)} scanned, {rate(read, done.seconds)}")
    print_table(
        ("volume", "kind", "files", "unchanged", "found", "not scanned", "problem"),
        [
            (each.name, each.kind, each.files, each.unchanged, each.found, each.unscanned, each.problem)
            for each in done.volumes
        ],
        none="the point has no volume",
    )
    for found in done.findings:
        place = one_line(f"{found.volume}:{found.path}")
        click.echo(f"  FOUND         {place}: {one_line(found.signature)} ({found.scanner}), SHA-256 {found.sha256}")
    _tell_more(done.found, len({(found.volume, found.path) for found in done.findings}), "find")
    for left in done.unscanned:
        place = one_line(f"{left.volume}:{left.path}")
        click.echo(f"  not scanned   {place} ({size(left.size)}): {one_line(left.why)}")
    _tell_more(done.left, len(done.unscanned), "file")


def _drop(_done: ScannedPoint) -> None:
    """Take an outcome that the JSON document has."""


def _tell_more(number: int, told: int, what: str) -> None:
    if number > told:
        click.echo(f"                and {counted(number - told, f'more {what}', f'more {what}s')}")
