"""Options for commands in a VM's guest, and for the user of the guest."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from vmkeep.cli import settings
from vmkeep.cli.pages import Section, option
from vmkeep.cli.secretfiles import require_typed, secret_from
from vmkeep.errors import UsageError
from vmkeep.model.guest import (
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    FreezeFailure,
    GuestCommands,
    GuestLogin,
    Logins,
    commands_from,
)

F = TypeVar("F", bound=Callable[..., Any])

_COMMANDS = (
    option("--pre-freeze", section=Section.WHAT, metavar="COMMAND",
           help="Run a command in the guest right before the snapshot, by VMware Tools. Needs --post-thaw."),
    option("--post-thaw", section=Section.WHAT, metavar="COMMAND",
           help="Run a command in the guest right after the snapshot, and whenever the pre-freeze command was begun."),
    option("--guest-seconds", section=Section.WHAT, type=click.FloatRange(1, LONGEST_SECONDS), metavar="SECONDS",
           default=DEFAULT_SECONDS, show_default=True,
           help="Time limit of each command in the guest. A command that takes longer is terminated."),
    option("--freeze-failure", section=Section.WHAT, type=click.Choice([each.value for each in FreezeFailure]),
           default=FreezeFailure.FAIL.value, show_default=True,
           help="What a failing pre-freeze command does to the backup."),
)  # fmt: skip
_LOGIN = (
    option("--guest-user", section=Section.VSPHERE, setting=settings.GUEST_USER, metavar="NAME",
           help="User of the guest, for commands in it."),
    option("--guest-password-file", section=Section.VSPHERE, setting=settings.GUEST_PASSWORD_FILE, metavar="FILE",
           help="File with the password of the guest's user, readable by you alone."),
)  # fmt: skip


def guest_command_options(function: F) -> F:
    """Add the options that name commands in the guest."""
    for add in reversed(_COMMANDS):
        function = add(function)
    return guest_login_options(function)


def guest_login_options(function: F) -> F:
    """Add the options that name the guest's user."""
    for add in reversed(_LOGIN):
        function = add(function)
    return function


def take_guest(given: dict[str, Any]) -> tuple[GuestCommands | None, Logins]:
    """Take the options about the guest out of those of a command. Return the commands, if any, and their user."""
    user: str | None = given.pop("guest_user")
    commands = commands_from(
        freeze=given.pop("pre_freeze"),
        thaw=given.pop("post_thaw"),
        login=f"user:{user}" if user else None,
        seconds=given.pop("guest_seconds"),
        failure=given.pop("freeze_failure"),
    )
    return commands, given_logins(user, given.pop("guest_password_file"))


def given_logins(guest_user: str | None, guest_password_file: str | None) -> Logins:
    """Return a function that gives the one user of the options for every name, because a person has chosen it."""

    def login(name: str) -> GuestLogin:
        if not guest_user:
            raise UsageError(
                f"the guest's user is missing (the note of the run names it '{name}'): give --guest-user or set "
                f"{settings.GUEST_USER.variable}"
            )
        return GuestLogin(user=guest_user, password=_password(guest_password_file))

    return login


def _password(file: str | None) -> str:
    if file and _chosen_now():
        return secret_from(file, "password")
    if given := os.environ.get(settings.GUEST_PASSWORD.variable):
        return require_typed(given, settings.GUEST_PASSWORD.variable)
    if not file:
        raise UsageError(
            f"the password of the guest's user is missing: give {settings.GUEST_PASSWORD_FILE.option}, or set "
            f"{settings.GUEST_PASSWORD.variable} or {settings.GUEST_PASSWORD_FILE.variable}"
        )
    return secret_from(file, "password")


def _chosen_now() -> bool:
    """Return whether this command line named the file, and not the environment or the configuration file."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source("guest_password_file") if context else None
    return source is click.core.ParameterSource.COMMANDLINE
