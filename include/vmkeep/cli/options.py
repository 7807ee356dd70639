"""Options of one name everywhere, and the ``Site`` they add up to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from vmkeep.cli import settings
from vmkeep.cli.configuration import in_file, require, user_folder, value_of
from vmkeep.cli.pages import Section, option
from vmkeep.cli.passphrases import given_passphrase, passphrase_for, password, remember_file
from vmkeep.model.address import parse_address
from vmkeep.model.limits import parse_limits
from vmkeep.model.site import Site, VCenter, parse_drivers, parse_hook_seconds
from vmkeep.model.transport import DEFAULT_MODES, TransportMode

if TYPE_CHECKING:
    from vmkeep.flows.repositories import Repository

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])

_LIMIT = "vmkeep.limit_rate"


def _remember_limit(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value:
        from vmkeep.flows.repositories import require_rate  # takes time to import

        require_rate(value)
    context.meta[_LIMIT] = value or None


_REPOSITORY = option(
    "--repository", "-r", section=Section.WHERE, setting=settings.REPOSITORY, metavar="LOCATION",
    help="Repository: a folder or file:// URL, s3://bucket/prefix, sftp://user@host/path or scp://user@host:path.",
)  # fmt: skip
_PASSPHRASE = option(
    "--passphrase-file", section=Section.WHERE, setting=settings.PASSPHRASE_FILE, metavar="FILE", expose_value=False,
    callback=remember_file, help="File with the passphrase of an encrypted repository, readable by you alone.",
)  # fmt: skip
_LIMIT_RATE = option(
    "--limit-rate", section=Section.WHERE, setting=settings.LIMIT_RATE, metavar="RATE", expose_value=False,
    callback=_remember_limit,
    help="Bytes per second to and from the repository, for all disks together: 50MiB, or by this machine's time of day "
    "20:00-06:00=unlimited,default=50MiB.",
)  # fmt: skip
second_passphrase_option = option(
    "--second-passphrase-file", section=Section.WHERE, setting=settings.SECOND_PASSPHRASE_FILE, metavar="FILE",
    help="File with the passphrase of the second repository.",
)  # fmt: skip
transports_option = option(
    "--transports", section=Section.VSPHERE, metavar="MODE:MODE…", default=":".join(DEFAULT_MODES), show_default=True,
    help=f"How VDDK may reach the disks, the preferred way first: {', '.join(TransportMode)}. "
    "By san and hotadd, a restore writes under a temporary snapshot; new disks for a VM are written by nbdssl and nbd.",
)  # fmt: skip
json_option = option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and no progress bar.")

_VSPHERE = (
    option("--vcenter", section=Section.VSPHERE, setting=settings.VCENTER, metavar="HOST[:PORT]",
           help="vCenter or ESXi host."),
    option("--user", section=Section.VSPHERE, setting=settings.USER, metavar="NAME", help="User at the vCenter."),
    option("--password-file", section=Section.VSPHERE, setting=settings.PASSWORD_FILE, metavar="FILE",
           help="File with the password, readable by you alone."),
    option("--thumbprint", section=Section.VSPHERE, setting=settings.THUMBPRINT, metavar="HEX",
           help="SHA-1 or SHA-256 of the vCenter's certificate."),
    option("--ca-file", section=Section.VSPHERE, setting=settings.CA_FILE, metavar="PEM",
           help="Certificate authorities to verify against instead of a thumbprint."),
)  # fmt: skip
VSPHERE_NAMES = ("vcenter", "user", "password_file", "thumbprint", "ca_file")
"""The parameters of a command that :func:`vsphere_options` adds."""
_VDDK = option(
    "--vddk", section=Section.VSPHERE, setting=settings.VDDK, metavar="FOLDER",
    help="VDDK's distribution folder, the one that holds lib64/.",
)  # fmt: skip


def repository_option(function: F) -> F:
    """Add the options that name a repository, what opens it, and how much may pass."""
    return _REPOSITORY(_PASSPHRASE(_LIMIT_RATE(function)))


policies_option = option(
    "--policies", section=Section.WHERE, setting=settings.POLICIES, metavar="FOLDER",
    type=click.Path(path_type=Path), help="Folder of the policy files.",
)  # fmt: skip


def selector_option(help_text: str) -> Callable[[F], F]:
    """Return what adds the option that takes a selector of VMs."""
    return option("-s", "--select", "selector", section=Section.WHAT, metavar="SELECTOR", help=help_text)


def vsphere_options(function: F) -> F:
    """Add the options that name a vCenter and how to log in."""
    for add in reversed(_VSPHERE):
        function = add(function)
    return function


def vddk_option(function: F) -> F:
    """Add the option that names VDDK's folder."""
    return _VDDK(function)


def vcenter_from(
    *, vcenter: str | None, user: str | None, password_file: str | None, thumbprint: str | None, ca_file: str | None
) -> VCenter:
    """Build the vCenter value from options and environment."""
    given = require(settings.VCENTER, vcenter)
    host, port = parse_address(given, what="--vcenter", user="--user or VMKEEP_USER")
    return VCenter(
        host=host,
        port=port or 443,
        user=require(settings.USER, user),
        password=password(password_file),
        thumbprint=thumbprint or None,
        ca_file=ca_file or None,
    )


def location_from(repository: str | None) -> str:
    """Return the repository's location, with the cache where the configuration file wants it."""
    if (cache := in_file(settings.CACHE)) is not None:
        os.environ[settings.CACHE.variable] = cache  # processes that copy disks look there, too
    return require(settings.REPOSITORY, repository)


def site_from(*, repository: str | None, vddk: str | None = None, **vsphere: str | None) -> Site:
    """Build the site of a command that needs the repository, and maybe vSphere and VDDK."""
    location = location_from(repository)
    if not vsphere:
        return Site(repository=location, passphrase=passphrase_for(location), limit_rate=given_limit())
    drivers = parse_drivers(value_of(settings.DISK_DRIVERS))
    return Site(
        repository=location,
        passphrase=passphrase_for(location),
        limit_rate=given_limit(),
        vcenter=vcenter_from(**vsphere),
        vddk=(vddk or None) if drivers else require(settings.VDDK, vddk),
        disk_drivers=drivers,
        array_hook=value_of(settings.ARRAY_HOOK) or None,
        array_hook_seconds=parse_hook_seconds(value_of(settings.ARRAY_HOOK_SECONDS)),
        limits=parse_limits(value_of(settings.LIMITS)),
        catalog=catalog_url(),
    )


def open_given(repository: str | None) -> Repository:
    """Open the repository that the options name, with the passphrase that they name."""
    location = location_from(repository)
    return _opened(location, passphrase_for(location))


def open_quietly(repository: str) -> Repository:
    """Open the repository that the options name, and ask nobody for a passphrase that was not given."""
    return _opened(location_from(repository), given_passphrase())


def _opened(location: str, passphrase: str | None) -> Repository:
    from vmkeep.flows.catalogued import use_catalog  # takes time to import
    from vmkeep.flows.repositories import open_repository

    return use_catalog(open_repository(location, passphrase=passphrase, limit_rate=given_limit()), catalog_url)


def given_limit() -> str | None:
    """Return the rate limit that the options name."""
    context = click.get_current_context(silent=True)
    limit: str | None = context.meta.get(_LIMIT) if context else value_of(settings.LIMIT_RATE)
    return limit or None


def catalog_url() -> str:
    """Return where the catalog lives: as it is set, or SQLite in the user's state folder, or else in memory."""
    if chosen := value_of(settings.CATALOG):
        return chosen
    if (folder := user_folder("XDG_STATE_HOME", ".local/state")) is None:
        log.warning("this user has no home folder to keep the catalog in: set VMKEEP_CATALOG, or HOME")
        return "sqlite://"
    return f"sqlite:///{quote(str(folder / 'catalog.db'))}"
