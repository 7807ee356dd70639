"""``vmkeep vm thaw``: thaw the guests that dead backups have left frozen."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.cli.guest_options import given_logins, guest_login_options
from vmkeep.cli.options import json_option, repository_option, site_from, vcenter_from, vsphere_options
from vmkeep.cli.output import one_line, print_json, print_table
from vmkeep.cli.pages import command, option
from vmkeep.errors import GuestCommandError
from vmkeep.model.wording import counted


@command(
    "thaw",
    examples={
        "List the frozen guests, and change nothing": "vmkeep vm thaw --dry-run",
        "Thaw them as the guest's user backup": "vmkeep vm thaw --guest-user backup --guest-password-file pw",
    },
)
@repository_option
@vsphere_options
@guest_login_options
@option("--dry-run", is_flag=True, help="List the guests, and change nothing.")
@json_option
def thaw(
    *, dry_run: bool, repository: str | None, as_json: bool, guest_user: str | None,
    guest_password_file: str | None, **vsphere: str | None,
) -> None:  # fmt: skip
    """Run the post-thaw command in guests that a dead backup began to freeze and nobody has thawed.

    Guests of living runs are left alone. The VM's next backup and the DAG snapshot_sweep do the same.
    """
    from vmkeep.flows import guest_thaws  # takes time to import

    site = replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere))
    left = guest_thaws.find_left(site)
    logins = given_logins(guest_user, guest_password_file)
    rows, failed = [], 0
    for one in left:
        state = "in use" if one.alive else "frozen"
        if not one.alive and not dry_run:
            problem = guest_thaws.thaw_dead(site, one, logins)
            state = "thawed" if problem is None else f"frozen: {problem}"
            failed += problem is not None
        rows.append((one.note.vm.moref, one.note.vm.name, one.note.run, state))
    if as_json:
        print_json([dict(zip(("moref", "name", "run", "state"), row, strict=True)) for row in rows])
    else:
        print_table(
            ("moref", "name", "run", "state"),
            [[one_line(str(cell)) for cell in row] for row in rows],
            none="no guest is left frozen",
        )
    if failed:
        raise GuestCommandError(f"{counted(failed, 'guest')} may still be frozen; see above")
