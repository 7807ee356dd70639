"""``vmkeep vsphere``: what a vCenter has to allow."""

from __future__ import annotations

import click

from vmkeep.cli.groups import Verbs
from vmkeep.cli.options import json_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.vsphere.rights import Purpose, rights_of

_WORDS = {"backup": Purpose.BACKUP, "restore-over": Purpose.RESTORE_OVER, "restore-new": Purpose.RESTORE_NEW}


@click.group(cls=Verbs)
def vsphere() -> None:
    """Print the rights that a vCenter user needs."""


@vsphere.command("role")
@click.option("--for", "purpose", type=click.Choice(list(_WORDS)), help="Only what this kind of run needs.")
@json_option
def role(purpose: str | None, as_json: bool) -> None:
    """List the privileges for backups and restores, and the object that each is asked on.

    The list is made from the vSphere methods that vmkeep calls; each run asks for the same privileges before it
    changes anything. Every role also holds System.Anonymous, System.View and System.Read, by itself.
    """
    chosen = [(word, right) for word, kind in _WORDS.items() if purpose in (None, word) for right in rights_of(kind)]
    if as_json:
        print_json(
            [
                {
                    "for": word,
                    "on": right.on.name.lower(),
                    "privilege": right.privilege,
                    "step": right.step,
                    "only_if": right.when,
                }
                for word, right in chosen
            ]
        )
        return
    print_table(
        ("for", "on", "privilege", "only if"), [(word, right.on, right.privilege, right.when) for word, right in chosen]
    )
