"""``vmkeep point files give``: a file out of a restore point, back into the running guest."""

from __future__ import annotations

from dataclasses import replace as changed

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.completions import complete_points, complete_selectors
from vmkeep.cli.filewords import as_document, shown_path
from vmkeep.cli.guest_options import given_logins, guest_login_options
from vmkeep.cli.options import json_option, repository_option, site_from, vcenter_from, vsphere_options
from vmkeep.cli.output import print_json, print_line, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.model.wording import size


@command(
    "give",
    examples={
        "Put a file back under another name": "vmkeep point files give latest:app01 disk0p1:/etc/hosts --to app01 "
        "--guest-path /etc/hosts.old --guest-user root --guest-password-file pw",
        "Put it back in its own place": "vmkeep point files give latest:app01 disk0p1:/etc/hosts --to app01 "
        "--guest-path /etc/hosts --replace --guest-user root --guest-password-file pw",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("place", metavar="VOLUME:/PATH")
@option(
    "--to", "vm", section=Section.WHERE, required=True, metavar="VM", shell_complete=complete_selectors,
    help="The running VM whose guest gets the file.",
)  # fmt: skip
@option(
    "--guest-path", section=Section.WHERE, required=True, metavar="PATH",
    help="Absolute path of the file in the guest. Its folder has to be there.",
)  # fmt: skip
@option("--replace", section=Section.WHAT, is_flag=True, help="Replace a file of that name in the guest.")
@repository_option
@vsphere_options
@guest_login_options
@json_option
def give(
    ref: str, place: str, vm: str, guest_path: str, replace: bool, repository: str | None, as_json: bool,
    guest_user: str | None, guest_password_file: str | None, **vsphere: str | None,
) -> None:  # fmt: skip
    """Write one file of a restore point into the guest of a running VM, through VMware Tools.

    The file is written beside its name, read back and compared, and then renamed; until then the guest has what it had.
    It belongs to the guest's user, and has the mode that it had. Owners, attributes and whole folders come back by a
    tar archive: see 'point files get'.
    """
    from vmkeep.flows.point_file_give import GiveRequest, give_file  # takes time to import

    site = changed(site_from(repository=repository), vcenter=vcenter_from(**vsphere))
    login = given_logins(guest_user, guest_password_file)("a user of the guest")
    request = GiveRequest(point=ref, source=place, vm_selector=vm, guest_path=guest_path, replace=replace)
    with progress_bars(hidden=as_json) as bars:
        given = give_file(site, request, login, tell=warn, on_progress=bars(place))
    if as_json:
        print_json(as_document(given))
        return
    print_line(f"{given.vm}: {shown_path(given.guest_path)}, {size(given.size)}, SHA-256 {given.sha256}, read back")
