"""``vmkeep repo``: make, look at and check a repository."""

from __future__ import annotations

from typing import Any

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.options import catalog_url, json_option, location_from, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, show_recovery_key
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.passphrases import given_passphrase, new_passphrase
from vmkeep.cli.streams import require_output
from vmkeep.errors import CorruptError, UsageError
from vmkeep.flows import repositories
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size


@click.group(
    cls=Verbs,
    late={
        "copy": "vmkeep.cli.repo_copy:copy",
        "lock": "vmkeep.cli.repo_lock:lock",
        "merge": "vmkeep.cli.repo_merge:merge",
        "prune": "vmkeep.cli.repo_prune:prune",
        "repair": "vmkeep.cli.repo_repair:repair",
    },
)
def repo() -> None:
    """Make, check, prune, copy and repair a repository."""


_HOW_GIVEN = "set VMKEEP_PASSPHRASE or give --passphrase-file"


@repo.command(
    "init",
    examples={
        "Create a repository in a folder": "vmkeep repo init -r /backup/repo",
        "Create an encrypted one in a bucket, with locks": "vmkeep repo init -r s3://vm-backup/repo --encrypt "
        "--lock compliance --lock-days 30",
    },
)
@option(
    "--block-size",
    section=Section.WHAT,
    type=int,
    default=256,
    show_default=True,
    metavar="KIB",
    help="Size of a deduplicated block: a power of two from 64 to 4096 KiB.",
)
@option(
    "--compression", section=Section.WHAT, type=click.Choice(["zstd", "lz4", "none"]), default="zstd",
    show_default=True, help="Compression of blocks: zstd saves most space, lz4 takes less time.",
)  # fmt: skip
@option(
    "--encrypt",
    section=Section.WHAT,
    is_flag=True,
    help="Encrypt everything. Takes a passphrase, and prints a recovery key once.",
)
@option(
    "--kms",
    section=Section.WHAT,
    metavar="ARN",
    help="With --encrypt: open the repository by this key of AWS KMS, and ask for no passphrase.",
)
@option(
    "--lock", "lock_mode", section=Section.WHAT, type=click.Choice(repositories.LOCK_MODES),
    help="On S3 with Object Lock: lock stored blobs. Users with a special right can lift 'governance'; nobody can lift "
    "'compliance'.",
)  # fmt: skip
@option(
    "--lock-days",
    section=Section.WHAT,
    type=int,
    metavar="N",
    help="With --lock: how many days a blob is locked after it is stored.",
)
@repository_option
@json_option
def init(
    repository: str | None, block_size: int, compression: str, encrypt: bool, kms: str | None,
    lock_mode: str | None, lock_days: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Create a repository.

    A folder has to be empty, or missing in a folder that exists; a prefix of a bucket has to be free.
    """
    location = location_from(repository)
    if kms and not encrypt:
        raise UsageError("--kms needs --encrypt")
    if (lock_mode is None) != (lock_days is None):
        raise UsageError("--lock and --lock-days need each other: give both, or neither")
    passphrase = None
    if encrypt:
        require_output()  # it takes the recovery key
        passphrase = given_passphrase() or (None if kms else new_passphrase(None, where=_HOW_GIVEN))
    made = repositories.create(
        location,
        block_size=block_size * 1024,
        compression=compression,
        encrypt=encrypt,
        passphrase=passphrase,
        kms_key=kms,
        lock=(lock_mode, lock_days) if lock_mode is not None and lock_days is not None else None,
    )
    if as_json:
        fields = {"id": made.id, "location": made.location, "block_size": made.block_size, "encrypted": made.encrypted}
        print_json({**fields, "recovery_key": made.recovery_key} if made.encrypted else fields)
        return
    click.echo(f"repository {made.id} created at {made.location}")
    if made.recovery_key:
        show_recovery_key(made.recovery_key)


@repo.command("stats", examples={"Count in another repository": "vmkeep repo stats -r /backup/repo"})
@repository_option
@json_option
def stats(repository: str | None, as_json: bool) -> None:
    """Count restore points, packs and bytes."""
    with open_given(repository) as opened:
        numbers = repositories.stats(opened)
    if as_json:
        print_json(numbers)
        return
    rows = (
        ("restore points", f"{numbers.points:,}"),
        ("VMs that have them", f"{numbers.vms:,}"),
        ("packs", f"{numbers.packs:,}"),
        ("bytes of the packs", size(numbers.pack_bytes)),
        ("blocks and map pages in them", f"{numbers.blocks:,}"),
        ("segments of the index", f"{numbers.index_segments:,}"),
        ("bytes of the index", size(numbers.index_bytes)),
        ("notes of runs", f"{numbers.run_blobs:,}"),
    )
    print_table(("count of", "value"), rows, none="there is nothing to count")


@repo.command(
    "check",
    examples={
        "Check the structure, and read no data": "vmkeep repo check",
        "Read one part of the data each day, all of it in 30 days": "vmkeep repo check --slice today/30",
        "Read all data now": "vmkeep repo check --read-data",
    },
)
@option(
    "--read-data", section=Section.WHAT, is_flag=True, help="Read every stored block, and compare it with its digest."
)
@option(
    "--slice",
    "part",
    section=Section.WHAT,
    metavar="K/N",
    help="Read the data of one of N parts: 3/30, or today/30, which reads all data in 30 days.",
)
@repository_option
@json_option
def check(repository: str | None, read_data: bool, part: str | None, as_json: bool) -> None:
    """Check the structure and existence of everything that a restore needs.

    The exit code is 90 when something is damaged. Damaged packs are noted, so that the next backup stores their blocks
    again where it meets them. See also 'vmkeep repo repair'.
    """
    if read_data and part:
        raise UsageError("--read-data reads all data: leave out --slice")
    from vmkeep.flows.capacity import note_check  # takes time to import

    chosen = repositories.choose_slice(part) if part else None
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        findings = repositories.check(opened, read_data=read_data, part=chosen, on_progress=bars("check"))
        note_check(catalog_url(), opened, chosen, all_data=read_data, findings=len(findings))
    if as_json:
        print_json({"healthy": not findings, "findings": [dict(_fields(finding)) for finding in findings]})
    else:
        for finding in findings:
            click.echo(str(finding))
    if findings:
        raise CorruptError(f"{opened.location}: {counted(len(findings), 'finding')}")
    if not as_json:
        click.echo(f"no damage found ({_extent(read_data, chosen)})")


def _extent(read_data: bool, part: repositories.Slice | None) -> str:
    if part is not None:
        return f"data of slice {part} re-read"
    return "all stored data re-read" if read_data else "stored data not re-read: see --read-data and --slice"


def _fields(value: object) -> list[tuple[str, Any]]:
    return list(to_plain(value).items())
