"""``vmkeep repo copy``: restore points to a second repository."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from vmkeep.cli.options import given_limit, json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, progress_bars, size
from vmkeep.cli.secretfiles import secret_from
from vmkeep.errors import CorruptError, NotFoundError, RepositoryError, UsageError
from vmkeep.model.job import to_plain
from vmkeep.repository import Repository, open_repository, takes_passphrase

if TYPE_CHECKING:
    from vmkeep.flows.copying import CopyReport

second_passphrase_option = click.option(
    "--second-passphrase-file", envvar="VMKEEP_SECOND_PASSPHRASE_FILE", metavar="FILE",
    help="File with the passphrase of the second repository. "
    "[env: VMKEEP_SECOND_PASSPHRASE_FILE, or VMKEEP_SECOND_PASSPHRASE itself]",
)  # fmt: skip


@click.command("copy")
@repository_option
@click.argument("refs", metavar="[POINT]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every restore point.")
@click.option("--vm", help="Every restore point of this VM, by name or key.")
@click.option("--latest", is_flag=True, help="The newest point only: of that VM, or of each.")
@click.option("--to", "target", required=True, metavar="LOCATION", help="The second repository; 'repo init' makes it.")
@second_passphrase_option
@click.option(
    "--verify", type=click.Choice(["all", "sample", "none"]), default="sample", show_default=True,
    help="How much of what arrived is read back before a point is sealed there.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and write nothing.")
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
    """Copy restore points to a second repository, with another key, compression or kind of store if you like.

    Only what is missing there is read and sent; points that are there are skipped. Exit code 90 when a point could not
    be copied because it is damaged.
    """
    from vmkeep.flows.copying import Verify, copy_points  # takes time to import

    if bool(refs) + everything + bool(vm or latest) != 1:
        raise UsageError("name restore points, or give --all, or --vm and --latest, or one of these two")
    with (
        open_given(repository) as source,
        open_second(target, second_passphrase_file) as second,
        progress_bars(hidden=as_json) as bars,
    ):
        chosen = [source.find_point(ref).ref for ref in refs] or _chosen(source, vm, latest=latest)
        report = copy_points(
            source, second, chosen, verify=Verify(verify), dry_run=dry_run, on_progress=bars("repository")
        )
    _show(report, as_json=as_json)
    if report.failed:
        raise CorruptError(f"{len(report.failed)} of {len(report.points)} point(s) could not be copied")


def open_second(location: str, passphrase_file: str | None) -> Repository:
    """Open a second repository, with a passphrase of its own."""
    passphrase = os.environ.get("VMKEEP_SECOND_PASSPHRASE")
    if not passphrase and passphrase_file:
        passphrase = secret_from(passphrase_file, "passphrase")
    if not passphrase and takes_passphrase(location):
        if not sys.stdin.isatty():
            raise RepositoryError(
                f"{location}: the second repository is encrypted: set VMKEEP_SECOND_PASSPHRASE or give "
                "--second-passphrase-file"
            )
        passphrase = str(click.prompt(f"Passphrase of {location}", hide_input=True, err=True))
    return open_repository(location, passphrase=passphrase or None, limit_rate=given_limit())


def _chosen(source: Repository, vm: str | None, *, latest: bool) -> list[str]:
    refs = list(source.point_refs())
    keys = dict.fromkeys(ref.rpartition("/")[0] for ref in refs)
    wanted = set(keys) if vm is None else set(source.keys_of_vm(vm))
    if vm is not None and not wanted:
        raise NotFoundError(f"no restore point of a VM '{vm}' in {source.location}; see 'vmkeep point list'")
    if not latest:
        return [ref for ref in refs if ref.rpartition("/")[0] in wanted]
    return [ref for key in sorted(wanted) for ref in source.latest_refs(key)]


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
    )  # fmt: skip
