"""Options of one name everywhere, and the ``Site`` they add up to."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from vmkeep.blobs.rates import parse_rates
from vmkeep.cli.secretfiles import require_typed, secret_from
from vmkeep.errors import UsageError
from vmkeep.model.address import parse_address
from vmkeep.model.site import Site, VCenter
from vmkeep.model.transport import TransportMode
from vmkeep.repository import Repository, open_repository, takes_passphrase

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])

_FROM_FILE = "vmkeep.passphrase_file"
_LIMIT = "vmkeep.limit_rate"


def _remember(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    context.meta[_FROM_FILE] = value


def _remember_limit(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value:
        parse_rates(value)
    context.meta[_LIMIT] = value or None


_REPOSITORY = click.option(
    "--repository", "-r", envvar="VMKEEP_REPOSITORY", metavar="LOCATION",
    help="Repository: a folder or file:// URL, s3://bucket/prefix, sftp://user@host/path or scp://user@host:path. "
    "[env: VMKEEP_REPOSITORY]",
)  # fmt: skip
_PASSPHRASE = click.option(
    "--passphrase-file", envvar="VMKEEP_PASSPHRASE_FILE", metavar="FILE", expose_value=False, callback=_remember,
    help="File with the passphrase of an encrypted repository, readable by you alone. "
    "[env: VMKEEP_PASSPHRASE_FILE, or VMKEEP_PASSPHRASE itself]",
)  # fmt: skip
_LIMIT_RATE = click.option(
    "--limit-rate", envvar="VMKEEP_LIMIT_RATE", metavar="RATE", expose_value=False, callback=_remember_limit,
    help="Bytes per second to and from the repository, for all disks together: 50MiB, or by this machine's time of day "
    "20:00-06:00=unlimited,default=50MiB. [env: VMKEEP_LIMIT_RATE]",
)  # fmt: skip
transport_option = click.option(
    "--transport", metavar="MODE:MODE…", default="nbdssl:nbd", show_default=True,
    help=f"How VDDK may reach the disks, the preferred way first: {', '.join(TransportMode)}. "
    "A restore writes by nbdssl and nbd only.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, no bar.")

_VSPHERE = (
    click.option("--vcenter", envvar="VMKEEP_VCENTER", metavar="HOST[:PORT]",
                 help="vCenter or ESXi host. [env: VMKEEP_VCENTER]"),
    click.option("--user", envvar="VMKEEP_USER", metavar="NAME", help="User at the vCenter. [env: VMKEEP_USER]"),
    click.option(
        "--password-file", envvar="VMKEEP_PASSWORD_FILE", metavar="FILE",
        help="File with the password, readable by you alone. [env: VMKEEP_PASSWORD_FILE, or VMKEEP_PASSWORD itself]",
    ),
    click.option(
        "--thumbprint", envvar="VMKEEP_THUMBPRINT", metavar="HEX",
        help="SHA-1 or SHA-256 of the vCenter's certificate. [env: VMKEEP_THUMBPRINT]",
    ),
    click.option(
        "--ca-file", envvar="VMKEEP_CA_FILE", metavar="PEM",
        help="Certificate authorities to verify against instead of a thumbprint. [env: VMKEEP_CA_FILE]",
    ),
)  # fmt: skip
_VDDK = click.option(
    "--vddk", envvar="VMKEEP_VDDK", metavar="FOLDER",
    help="VDDK's distribution folder, the one that holds lib64/. [env: VMKEEP_VDDK]",
)  # fmt: skip


def repository_option(function: F) -> F:
    """Add the options that name a repository, what opens it, and how much may pass."""
    return _REPOSITORY(_PASSPHRASE(_LIMIT_RATE(function)))


def vsphere_options(function: F) -> F:
    """Add the options that name a vCenter and how to log in."""
    for option in reversed(_VSPHERE):
        function = option(function)
    return function


def vddk_option(function: F) -> F:
    """Add the option that names VDDK's folder."""
    return _VDDK(function)


def require(value: str | None, option: str, variable: str) -> str:
    """Return a setting that has to be there."""
    if not value:
        raise UsageError(f"{option} is missing: give it, or set {variable}")
    return value


def vcenter_from(
    *, vcenter: str | None, user: str | None, password_file: str | None, thumbprint: str | None, ca_file: str | None
) -> VCenter:
    """Build the vCenter value from options and environment."""
    given = require(vcenter, "--vcenter", "VMKEEP_VCENTER")
    host, port = parse_address(given, what="--vcenter", user="--user or VMKEEP_USER")
    return VCenter(
        host=host,
        port=port or 443,
        user=require(user, "--user", "VMKEEP_USER"),
        password=_password(password_file),
        thumbprint=thumbprint or None,
        ca_file=ca_file or None,
    )


def site_from(*, repository: str | None, vddk: str | None = None, **vsphere: str | None) -> Site:
    """Build the site of a command that needs the repository, and maybe vSphere and VDDK."""
    location = require(repository, "--repository", "VMKEEP_REPOSITORY")
    if not vsphere:
        return Site(repository=location, passphrase=passphrase_for(location), limit_rate=given_limit())
    return Site(
        repository=location,
        passphrase=passphrase_for(location),
        limit_rate=given_limit(),
        vcenter=vcenter_from(**vsphere),
        vddk=require(vddk, "--vddk", "VMKEEP_VDDK"),
        catalog=catalog_url(),
    )


def open_given(repository: str | None) -> Repository:
    """Open the repository that the options name, with the passphrase that they name."""
    location = require(repository, "--repository", "VMKEEP_REPOSITORY")
    return open_repository(location, passphrase=passphrase_for(location), limit_rate=given_limit())


def given_limit() -> str | None:
    """Return the rate limit that the options name."""
    context = click.get_current_context(silent=True)
    limit: str | None = context.meta.get(_LIMIT) if context else os.environ.get("VMKEEP_LIMIT_RATE")
    return limit or None


def passphrase_for(location: str) -> str | None:
    """Return the passphrase that was given; asks for one only at a terminal, and only if the repository takes one."""
    if given := given_passphrase():
        return given
    if sys.stdin.isatty() and takes_passphrase(location):
        return str(click.prompt(f"Passphrase of {location}", hide_input=True, err=True))
    return None


def given_passphrase() -> str | None:
    """Return the passphrase in the environment, or in the file that was named."""
    if passphrase := os.environ.get("VMKEEP_PASSPHRASE"):
        return passphrase
    context = click.get_current_context(silent=True)
    path = context.meta.get(_FROM_FILE) if context else os.environ.get("VMKEEP_PASSPHRASE_FILE")
    return secret_from(path, "passphrase") if path else None


def new_passphrase(file: str | None, *, where: str) -> str:
    """Return a passphrase to be set: from the file, VMKEEP_NEW_PASSPHRASE, or typed twice at a terminal.

    :param where: how else to give it, for the message.
    """
    if file:
        return secret_from(file, "passphrase")
    if passphrase := os.environ.get("VMKEEP_NEW_PASSPHRASE"):
        return passphrase
    if not sys.stdin.isatty():
        raise UsageError(f"the new passphrase is missing: {where}")
    return str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))


def catalog_url() -> str:
    """Return where the catalog lives: VMKEEP_CATALOG, or SQLite in the user's state folder, or else in memory."""
    if chosen := os.environ.get("VMKEEP_CATALOG"):
        return chosen
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        log.warning("this user has no home folder to keep the catalog in: set VMKEEP_CATALOG, or HOME")
        return "sqlite://"
    return f"sqlite:///{quote(str(state / 'vmkeep' / 'catalog.db'))}"


def _password(password_file: str | None) -> str:
    password = os.environ.get("VMKEEP_PASSWORD")
    if password:
        return require_typed(password, "VMKEEP_PASSWORD")
    return secret_from(require(password_file, "--password-file", "VMKEEP_PASSWORD or VMKEEP_PASSWORD_FILE"), "password")
