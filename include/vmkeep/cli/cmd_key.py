"""``vmkeep key``: the key slots of an encrypted repository."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any, TypeVar

import click

from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, show_recovery_key, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.passphrases import new_passphrase
from vmkeep.cli.streams import require_output
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.errors import UsageError
from vmkeep.flows import keys
from vmkeep.flows.keys import Slot
from vmkeep.flows.repositories import Repository

F = TypeVar("F", bound=Callable[..., Any])

_WHAT = (
    option("--recovery", section=Section.WHAT, is_flag=True,
           help="Make a new recovery key and print it, instead of a passphrase."),
    option("--kms", section=Section.WHAT, metavar="ARN", help="Use a key of AWS KMS, instead of a passphrase."),
    option("--new-passphrase-file", section=Section.WHAT, metavar="FILE",
           help="File with the new passphrase, readable by you alone."),
    option("--label", section=Section.WHAT, default="", metavar="TEXT",
           help="Name of its owner; it is stored unencrypted."),
)  # fmt: skip
_HOW_GIVEN = "set VMKEEP_NEW_PASSPHRASE or give --new-passphrase-file"


@click.group(cls=Verbs)
def key() -> None:
    """List, add, replace and remove the key slots of an encrypted repository.

    Each slot opens the repository by a passphrase, a recovery key or a key of AWS KMS. To change a passphrase, rotate
    its slot. The data stays encrypted with the same key: only the ways to that key change.
    """


@key.command("list", examples={"List the slots": "vmkeep key list -r s3://bucket/repo"})
@repository_option
@json_option
def list_slots(repository: str | None, as_json: bool) -> None:
    """List key slots, oldest first."""
    with open_given(repository) as opened:
        slots, damaged = keys.list_slots(opened)
    for blob, why in damaged.items():
        warn(f"{blob} {why}")
    if as_json:
        print_json([_plain(slot) for slot in slots])
    else:
        zone = shown_zone()
        rows = [(plain["id"], plain["opens_with"], _shown(plain["created"], zone), plain["label"])
                for plain in map(_plain, slots)]  # fmt: skip
        print_table(("slot", "opens with", f"created ({zone})", "label"), rows, none="no key slot can be read")


def _shown(created: str, zone: tzinfo) -> str:
    """Return a time as commands show it, or the text if somebody else has written another one."""
    with suppress(ValueError):
        return shown_time(datetime.fromisoformat(created), zone)
    return created


def what_options(function: F) -> F:
    """Add the options that choose the kind of a slot."""
    for add_option in reversed(_WHAT):
        function = add_option(function)
    return function


@key.command(
    "add",
    examples={
        "Add a passphrase, typed at the terminal": "vmkeep key add --label alice",
        "Add a recovery key": "vmkeep key add --recovery --label safe",
    },
)
@what_options
@repository_option
@json_option
def add(
    recovery: bool, kms: str | None, new_passphrase_file: str | None, label: str, repository: str | None, as_json: bool
) -> None:
    """Add a key slot: a passphrase, a recovery key or a key of AWS KMS."""
    if recovery:
        require_output()
    with open_given(repository) as opened:
        slot, shown = _add(opened, recovery=recovery, kms=kms, file=new_passphrase_file, label=label)
    if as_json:
        print_json({**_plain(slot), "recovery_key": shown} if shown else _plain(slot))
        return
    click.echo(f"key slot {slot.id} added")
    if shown:
        show_recovery_key(shown)


@key.command("rotate", examples={"Change the passphrase of a slot": "vmkeep key rotate 5f3a"})
@click.argument("slot", metavar="SLOT")
@what_options
@repository_option
@json_option
def rotate(
    slot: str, recovery: bool, kms: str | None, new_passphrase_file: str | None, label: str,
    repository: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Replace a key slot: add a new one, check that it opens, and only then remove SLOT."""
    if recovery:
        require_output()
    with open_given(repository) as opened:
        old = keys.require_slot(opened, slot)
        new, shown = _add(opened, recovery=recovery, kms=kms, file=new_passphrase_file, label=label or old.label)
        keys.remove(opened, old.id)
    if as_json:
        fields = {**_plain(new), "removed": old.id}
        print_json({**fields, "recovery_key": shown} if shown else fields)
        return
    click.echo(f"key slot {new.id} added, {old.id} removed")
    if shown:
        show_recovery_key(shown)


def _add(
    opened: Repository, *, recovery: bool, kms: str | None, file: str | None, label: str
) -> tuple[Slot, str | None]:
    """Add one slot; return it, and the recovery key to show."""
    if sum((recovery, kms is not None, file is not None)) > 1:
        raise UsageError("choose one of --recovery, --kms and --new-passphrase-file")
    if recovery:
        return keys.add_recovery_key(opened, label=label)
    if kms:
        return keys.add_service_key(opened, kms, label=label), None
    keys.require_encrypted(opened)  # nobody is asked for a passphrase that nothing would take
    return keys.add_passphrase(opened, new_passphrase(file, where=_HOW_GIVEN), label=label), None


@key.command("remove", examples={"Remove the slot whose id begins with 5f3a": "vmkeep key remove 5f3a"})
@click.argument("slot", metavar="SLOT")
@repository_option
@json_option
def remove(slot: str, repository: str | None, as_json: bool) -> None:
    """Remove a key slot, by its id or the beginning of its id; the last slot cannot be removed."""
    with open_given(repository) as opened:
        removed = keys.remove(opened, slot)
    if as_json:
        print_json(_plain(removed))
    else:
        click.echo(f"key slot {removed.id} removed")


def _plain(slot: Slot) -> dict[str, str]:
    opens = {"aws-kms": "AWS KMS", "argon2id": "passphrase", "scrypt": "passphrase", "recovery": "recovery key"}.get(
        slot.kind, f"{slot.kind} (not known here)"
    )
    return {"id": slot.id, "opens_with": opens, "created": slot.created, "label": slot.label}
