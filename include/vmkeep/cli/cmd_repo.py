"""``vmkeep repo``: make, look at and check a repository."""

from __future__ import annotations

from typing import Any

import click

from vmkeep.blobs.locking import LockMode, LockRule
from vmkeep.cli.groups import Verbs
from vmkeep.cli.options import given_passphrase, json_option, new_passphrase, open_given, repository_option, require
from vmkeep.cli.output import print_json, print_table, progress_bars, show_recovery_key, size
from vmkeep.cli.repo_copy import copy
from vmkeep.cli.repo_lock import lock
from vmkeep.cli.repo_merge import merge
from vmkeep.cli.repo_prune import prune
from vmkeep.cli.repo_repair import repair
from vmkeep.clock import now
from vmkeep.errors import CorruptError, UsageError
from vmkeep.model.job import to_plain
from vmkeep.repository import create_encrypted_repository, create_repository
from vmkeep.repository.slices import Slice, parse_slice


@click.group(cls=Verbs)
def repo() -> None:
    """Make, check, prune, copy and repair a repository."""


repo.add_command(copy)
repo.add_command(lock)
repo.add_command(merge)
repo.add_command(prune)
repo.add_command(repair)


_HOW_GIVEN = "set VMKEEP_PASSPHRASE or give --passphrase-file"


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
@click.option(
    "--compression", type=click.Choice(["zstd", "lz4", "none"]), default="zstd", show_default=True,
    help="How blocks are made smaller: zstd saves most, lz4 takes less time.",
)  # fmt: skip
@click.option("--encrypt", is_flag=True, help="Encrypt everything; takes a passphrase, and prints a recovery key once.")
@click.option("--kms", metavar="ARN", help="With --encrypt: a key of AWS KMS that opens it; asks for no passphrase.")
@click.option(
    "--lock", "lock_mode", type=click.Choice([mode.value for mode in LockMode]),
    help="On S3 with Object Lock: lock what is stored; 'governance' can be lifted by who has the right to.",
)  # fmt: skip
@click.option("--lock-days", type=int, metavar="N", help="With --lock: for how many days from when it is stored.")
@json_option
def init(
    repository: str | None, block_size: int, compression: str, encrypt: bool, kms: str | None,
    lock_mode: str | None, lock_days: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Create a repository: in a folder that is empty, or whose parent exists, or below a free prefix of a bucket."""
    location = require(repository, "--repository", "VMKEEP_REPOSITORY")
    recovery_key = None
    if kms and not encrypt:
        raise UsageError("--kms goes with --encrypt")
    rule = _lock_rule(lock_mode, lock_days)
    if encrypt:
        passphrase = given_passphrase() or (None if kms else new_passphrase(None, where=_HOW_GIVEN))
        created = create_encrypted_repository(
            location,
            passphrase=passphrase,
            kms_key=kms,
            block_size=block_size * 1024,
            compression=compression,
            lock=rule,
        )
        made, recovery_key = created.repository, created.recovery_key
    else:
        made = create_repository(location, block_size=block_size * 1024, compression=compression, lock=rule)
    if as_json:
        fields = {"id": made.id, "location": made.location, "block_size": made.block_size, "encrypted": encrypt}
        print_json({**fields, "recovery_key": recovery_key} if encrypt else fields)
        return
    click.echo(f"repository {made.id} created at {made.location}")
    if recovery_key:
        show_recovery_key(recovery_key)


def _lock_rule(mode: str | None, days: int | None) -> LockRule | None:
    if (mode is None) != (days is None):
        raise UsageError("--lock and --lock-days go together")
    return LockRule(mode=LockMode(mode), days=days) if mode and days is not None else None


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
        (name.replace("_", " "), size(int(value)) if name.endswith("_bytes") else value)
        for name, value in _fields(numbers)
    ]
    print_table(("what", "value"), rows)


@repo.command("check")
@repository_option
@click.option("--read-data", is_flag=True, help="Read every stored block and compare it with its digest.")
@click.option(
    "--slice", "part", metavar="K/N",
    help="Read the data of one of N parts: 3/30, or today/30, which comes round to all data in 30 days.",
)  # fmt: skip
@json_option
def check(repository: str | None, read_data: bool, part: str | None, as_json: bool) -> None:
    """Check structure and existence of everything a restore needs; exit code 90 when something is damaged.

    Damaged packs are written down, so that the next backup stores again what it meets of them; see 'repo repair'.
    """
    if read_data and part:
        raise UsageError("--read-data reads all data: leave out --slice")
    chosen = parse_slice(part, today=now()) if part else None
    with (
        open_given(repository) as opened,
        progress_bars(hidden=as_json) as bars,
    ):
        findings = opened.check(read_data=read_data, part=chosen, on_progress=bars("check"))
    if as_json:
        print_json({"healthy": not findings, "findings": [dict(_fields(finding)) for finding in findings]})
    else:
        for finding in findings:
            click.echo(str(finding))
    if findings:
        raise CorruptError(f"{repository}: {len(findings)} finding(s)")
    if not as_json:
        click.echo(f"no damage found ({_extent(read_data, chosen)})")


def _extent(read_data: bool, part: Slice | None) -> str:
    if part is not None:
        return f"data of slice {part} re-read"
    return "all stored data re-read" if read_data else "stored data not re-read: see --read-data and --slice"


def _fields(value: object) -> list[tuple[str, Any]]:
    return list(to_plain(value).items())
