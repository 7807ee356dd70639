"""``vmkeep repo copy``: copy restore points to a second repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.completions import complete_points, complete_vms
from vmkeep.cli.options import given_limit, json_option, open_given, repository_option, second_passphrase_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.passphrases import second_passphrase
from vmkeep.errors import CorruptError, UsageError
from vmkeep.flows.repositories import Repository, open_repository
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted_of, size

if TYPE_CHECKING:
    from vmkeep.flows.copy_values import CopyReport


@command(
    "copy",
    examples={
        "Copy every point that is missing there": "vmkeep repo copy --all --to s3://elsewhere/vmkeep",
        "Copy the newest point of one VM": "vmkeep repo copy --vm app01 --latest --to s3://elsewhere/vmkeep",
    },
)
@click.argument("refs", metavar="[POINT]...", nargs=-1, shell_complete=complete_points)
@option("--all", "everything", section=Section.WHAT, is_flag=True, help="Copy every restore point.")
@option(
    "--vm",
    section=Section.WHAT,
    metavar="VM",
    shell_complete=complete_vms,
    help="Copy every restore point of this VM, by name or key.",
)
@option("--latest", section=Section.WHAT, is_flag=True, help="Copy the newest point only: of that VM, or of each VM.")
@option(
    "--verify", section=Section.WHAT, type=click.Choice(["all", "sample", "none"]), default="sample", show_default=True,
    help="How much of the copied data is read back before a point is sealed in the second repository.",
)  # fmt: skip
@option(
    "--to",
    "target",
    section=Section.WHERE,
    required=True,
    metavar="LOCATION",
    help="The second repository; 'repo init' makes it.",
)
@second_passphrase_option
@repository_option
@option("--dry-run", is_flag=True, help="Show which points would be copied, and write nothing.")
@json_option
def copy(
    repository: str | None,
    refs: tuple[str, ...],
    everything: bool,
    vm: str | None,
    latest: bool,
    target: str,
    second_passphrase_file: str | None,
    verify: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy restore points to a second repository, which may have another key, compression or kind of store.

    Points that exist there are skipped, and only blocks that are missing there are sent. The exit code is 90 when a
    point could not be copied because it is damaged.
    """
    from vmkeep.flows.copy_values import Verify
    from vmkeep.flows.pointcopy import choose_points, copy_points  # takes time to import

    if bool(refs) + everything + bool(vm or latest) != 1:
        raise UsageError(
            "choose the points in one way: name them, or give --all, or --vm, or --latest, or --vm and --latest"
        )
    with (
        open_given(repository) as source,
        open_second(target, second_passphrase_file) as second,
        progress_bars(hidden=as_json) as bars,
    ):
        chosen = choose_points(source, refs, vm=vm, latest=latest)
        report = copy_points(
            source, second, chosen, verify=Verify(verify), dry_run=dry_run, on_progress=bars("repository")
        )
    _show(report, as_json=as_json)
    if report.failed:
        raise CorruptError(f"{counted_of(len(report.failed), len(report.points), 'point')} could not be copied")


def open_second(location: str, passphrase_file: str | None) -> Repository:
    """Open a second repository, with a passphrase of its own."""
    passphrase = second_passphrase(location, passphrase_file)
    return open_repository(location, passphrase=passphrase, limit_rate=given_limit())


def _show(report: CopyReport, *, as_json: bool) -> None:
    if as_json:
        print_json(to_plain(report))
        return
    print_table(
        ("point", "what", "read", "stored", "blocks verified"),
        [
            (point.ref, point.problem or point.state, size(point.bytes_read), size(point.bytes_stored),
             point.blocks_verified)
            for point in report.points
        ],
        none="there is no point to copy",
    )  # fmt: skip
