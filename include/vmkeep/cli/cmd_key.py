"""``vmkeep key``: the key slots of an encrypted repository."""

from __future__ import annotations

import click

from vmkeep.cli.options import json_option, new_passphrase, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, show_recovery_key
from vmkeep.repository import Slot


@click.group()
def key() -> None:
    """List, add and remove what opens an encrypted repository.

    To change a passphrase, add the new one, then remove the slot of the old one. This changes who can open the
    repository from now on, not the key that its data is encrypted with.
    """


@key.command("list")
@repository_option
@json_option
def list_slots(repository: str | None, as_json: bool) -> None:
    """List key slots, oldest first."""
    with open_given(repository) as opened:
        opened.master_key()
        slots, damaged = opened.slots.read()
    for blob, why in damaged.items():
        click.echo(f"warning: {blob} {why}", err=True)
    if as_json:
        print_json([_plain(slot) for slot in slots])
    else:
        print_table(("slot", "opens with", "created", "label"), [tuple(_plain(slot).values()) for slot in slots])


@key.command("add")
@click.option("--recovery", is_flag=True, help="Make a new recovery key and print it, instead of a passphrase.")
@click.option(
    "--new-passphrase-file",
    metavar="FILE",
    help="File with the new passphrase, readable by you alone. [env: VMKEEP_NEW_PASSPHRASE, the passphrase itself]",
)
@click.option("--label", default="", help="Whose it is, in clear.")
@repository_option
@json_option
def add(
    recovery: bool, new_passphrase_file: str | None, label: str, repository: str | None, as_json: bool
) -> None:  # fmt: skip
    """Add a passphrase, or with --recovery a recovery key, to those that open the repository."""
    shown = None
    with open_given(repository) as opened:
        master = opened.master_key()
        if recovery:
            slot, shown = opened.slots.add_recovery(master, label=label)
        else:
            slot = opened.slots.add_passphrase(master, new_passphrase(new_passphrase_file), label=label)
    if as_json:
        print_json({**_plain(slot), "recovery_key": shown} if shown else _plain(slot))
        return
    click.echo(f"key slot {slot.id} added")
    if shown:
        show_recovery_key(shown)


@key.command("remove")
@click.argument("slot", metavar="SLOT")
@repository_option
@json_option
def remove(slot: str, repository: str | None, as_json: bool) -> None:
    """Remove a key slot, by its id or the beginning of it; the last one stays."""
    with open_given(repository) as opened:
        opened.master_key()
        removed = opened.slots.remove(slot)
    if as_json:
        print_json(_plain(removed))
    else:
        click.echo(f"key slot {removed.id} removed")


def _plain(slot: Slot) -> dict[str, str]:
    opens = {"argon2id": "passphrase", "scrypt": "passphrase", "recovery": "recovery key"}.get(
        slot.kind, f"{slot.kind} (not known here)"
    )
    return {"id": slot.id, "opens_with": opens, "created": slot.created, "label": slot.label}
