"""``vmkeep dr exec``: run a command in the guest of a VM that a drill has kept."""

from __future__ import annotations

from dataclasses import replace

import click

from vmkeep.cli.guest_options import given_logins, guest_login_options
from vmkeep.cli.options import json_option, repository_option, site_from, vcenter_from, vsphere_options
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import Section, command, option
from vmkeep.model.guest import DEFAULT_SECONDS, LONGEST_SECONDS


@command(
    "exec",
    examples={
        "Take personal data out of a copy before testers get it": "vmkeep dr exec dr-20261126T201500Z-3f2a drill-web01 "
        "/opt/test/anonymise --guest-user backup --guest-password-file guest.pw",
    },
)
@click.argument("run")
@click.argument("vm")
@click.argument("text", metavar="COMMAND")
@option(
    "--seconds", section=Section.WHAT, type=click.FloatRange(1, LONGEST_SECONDS), metavar="SECONDS",
    default=DEFAULT_SECONDS, show_default=True, help="Time limit. A command that takes longer is terminated.",
)  # fmt: skip
@guest_login_options
@repository_option
@vsphere_options
@json_option
def exec_(
    run: str, vm: str, text: str, seconds: float, guest_user: str | None, guest_password_file: str | None,
    repository: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Run a command in the guest of a VM that a drill has made and kept ('vmkeep dr run --drill --keep').

    VM is the drill's name of it, or its managed object id. No other VM can be named. Any exit code but 0 is a failure.
    """
    from vmkeep.flows.drill_commands import run_in_drill  # takes time to import

    login = given_logins(guest_user, guest_password_file)("of the drill's VM")
    site = replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere))
    done = run_in_drill(site, run, vm, text, login=login, seconds=seconds)
    if as_json:
        print_json({"vm": done.vm.name, "moref": done.vm.moref, "duration_seconds": round(done.seconds, 3),
                    "output": done.output})  # fmt: skip
    else:
        click.echo(done.output, nl=not done.output.endswith("\n"))
