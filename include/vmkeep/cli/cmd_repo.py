"""``vmkeep repo``: make, look at and check a repository."""

from __future__ import annotations

from typing import Any

import click

from vmkeep.cli.options import given_passphrase, json_option, new_passphrase, open_given, repository_option, require
from vmkeep.cli.output import print_json, print_table, progress_bars, show_recovery_key, size
from vmkeep.errors import CorruptError
from vmkeep.model.job import to_plain
from vmkeep.repository import create_encrypted_repository, create_repository


@click.group()
def repo() -> None:
    """Make, look at and check a repository."""


@repo.command("init")
@repository_option
@click.option(
    "--block-size",
    type=int,
    default=256,
    show_default=True,
    metavar="KIB",
    help="Size of a deduplicated block: a power of two from 64 to 4096 KiB.",
)
@click.option("--compression", type=click.Choice(["zstd", "lz4", "none"]), default="zstd", show_default=True)
@click.option("--encrypt", is_flag=True, help="Encrypt everything; takes a passphrase, and prints a recovery key once.")
@json_option
def init(repository: str | None, block_size: int, compression: str, encrypt: bool, as_json: bool) -> None:
    """Create a repository; its parent folder must exist, and it must not exist itself."""
    location = require(repository, "--repository", "VMKEEP_REPOSITORY")
    recovery_key = None
    if encrypt:
        passphrase = given_passphrase() or new_passphrase(None)
        created = create_encrypted_repository(
            location, passphrase=passphrase, block_size=block_size * 1024, compression=compression
        )
        made, recovery_key = created.repository, created.recovery_key
    else:
        made = create_repository(location, block_size=block_size * 1024, compression=compression)
    if as_json:
        fields = {"id": made.id, "location": made.location, "block_size": made.block_size, "encrypted": encrypt}
        print_json({**fields, "recovery_key": recovery_key} if encrypt else fields)
        return
    click.echo(f"repository {made.id} created at {made.location}")
    if recovery_key:
        show_recovery_key(recovery_key)


@repo.command("stats")
@repository_option
@json_option
def stats(repository: str | None, as_json: bool) -> None:
    """Count points, packs and bytes."""
    with open_given(repository) as opened:
        numbers = opened.stats()
    if as_json:
        print_json(numbers)
        return
    rows = [
        (name.replace("_", " "), size(int(value)) if name.startswith("bytes") else value)
        for name, value in _fields(numbers)
    ]
    print_table(("what", "value"), rows)


@repo.command("check")
@repository_option
@click.option("--read-data", is_flag=True, help="Read every stored block and compare it with its digest.")
@json_option
def check(repository: str | None, read_data: bool, as_json: bool) -> None:
    """Check structure and existence of everything a restore needs; exit code 90 when something is damaged."""
    with (
        open_given(repository) as opened,
        progress_bars(hidden=as_json) as bars,
    ):
        findings = opened.check(read_data=read_data, on_progress=bars("check"))
    if as_json:
        print_json({"healthy": not findings, "findings": [dict(_fields(finding)) for finding in findings]})
    else:
        for finding in findings:
            click.echo(str(finding))
    if findings:
        raise CorruptError(f"{repository}: {len(findings)} finding(s)")
    if not as_json:
        click.echo("no damage found" if read_data else "no damage found (stored data not re-read: see --read-data)")


def _fields(value: object) -> list[tuple[str, Any]]:
    return list(to_plain(value).items())
