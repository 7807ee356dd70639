"""Passwords and passphrases from a file, from the environment, or typed at a terminal.

An option that names a file comes before a variable, because it is said for this one command.
"""

from __future__ import annotations

import os
import sys

import click

from vmkeep.cli.secretfiles import require_typed, secret_from
from vmkeep.cli.settings import NEW_PASSPHRASE, PASSPHRASE, PASSWORD, PASSWORD_FILE, SECOND_PASSPHRASE
from vmkeep.errors import RepositoryError, UsageError

_FILE = "vmkeep.passphrase_file"


def remember_file(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Keep the name of the passphrase's file until the passphrase is asked for."""
    context.meta[_FILE] = value


def passphrase_for(location: str) -> str | None:
    """Return the passphrase that was given; asks for one only at a terminal, and only if the repository takes one."""
    if given := given_passphrase():
        return given
    if sys.stdin.isatty() and _takes_passphrase(location):
        return _typed(location)
    return None


def given_passphrase() -> str | None:
    """Return the passphrase from the file that was named, or from the environment."""
    context = click.get_current_context(silent=True)
    file = context.meta.get(_FILE) if context else os.environ.get("VMKEEP_PASSPHRASE_FILE")
    return _given(PASSPHRASE.variable, file, "passphrase_file", "passphrase")


def second_passphrase(location: str, file: str | None) -> str | None:
    """Return the passphrase of the second repository.

    :raises RepositoryError: it takes one, none is given, and there is no terminal to ask at.
    """
    given = _given(SECOND_PASSPHRASE.variable, file, "second_passphrase_file", "passphrase")
    if given or not _takes_passphrase(location):
        return given
    if not sys.stdin.isatty():
        raise RepositoryError(
            f"{location}: the second repository is encrypted: set {SECOND_PASSPHRASE.variable} or give "
            "--second-passphrase-file"
        )
    return _typed(location)


def _takes_passphrase(location: str) -> bool:
    from vmkeep.flows.repositories import takes_passphrase  # takes time to import

    return takes_passphrase(location)


def new_passphrase(file: str | None, *, where: str) -> str:
    """Return a passphrase to be set: from the file, VMKEEP_NEW_PASSPHRASE, or typed twice at a terminal.

    :param where: how else to give it, for the message.
    """
    if file:
        return secret_from(file, "passphrase")
    if passphrase := os.environ.get(NEW_PASSPHRASE.variable):
        return passphrase
    if not sys.stdin.isatty():
        raise UsageError(f"the new passphrase is missing: {where}")
    return str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))


def password(file: str | None) -> str:
    """Return the password of the vCenter's user.

    :raises UsageError: it is missing, or holds what nobody types.
    """
    if not _chosen_now("password_file") and (given := os.environ.get(PASSWORD.variable)):
        return require_typed(given, PASSWORD.variable)
    if not file:
        raise UsageError(
            f"the password is missing: give {PASSWORD_FILE.option}, or set {PASSWORD.variable} or "
            f"{PASSWORD_FILE.variable}"
        )
    return secret_from(file, "password")


def _given(variable: str, file: str | None, parameter: str, what: str) -> str | None:
    if not (file and _chosen_now(parameter)) and (given := os.environ.get(variable)):
        return given
    return secret_from(file, what) if file else None


def _chosen_now(parameter: str) -> bool:
    """Return whether an option of this command line gave a value, and not the environment or the file."""
    context = click.get_current_context(silent=True)
    return context is not None and (context.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE)


def _typed(location: str) -> str:
    return str(click.prompt(f"Passphrase of {location}", hide_input=True, err=True))
