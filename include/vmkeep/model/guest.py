"""Commands that a backup runs in a VM's guest around the snapshot, and the login for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass

DEFAULT_SECONDS = 60.0
LONGEST_SECONDS = 3600.0
_UNSENDABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that no call of vSphere can hold, because XML cannot."""
_NOT_ONE_LINE = re.compile("[\t\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLogin:
    """A user of a guest, and the password."""

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a user or a password that cannot be sent, because the guest would be frozen and never thawed."""
        for name, text in (("name", self.user), ("password", self.password)):
            if _UNSENDABLE.search(text):
                raise UsageError(
                    f"the {name} of the guest's user holds a character that cannot be sent to the guest: give UTF-8"
                )


Logins = Callable[[str], GuestLogin]
"""Returns the login of a name: under Airflow, the id of a connection. Raises ``UsageError`` if it is not known here."""


def no_logins(name: str) -> GuestLogin:
    """Refuse every name, because the caller knows no guest's user."""
    raise UsageError(f"the guest's user '{name}' is not known here: give the user and the password of the guest")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCommands:
    """The commands of one backup. They hold no password: everybody who sees the run sees them."""

    freeze: str | None = None
    """Runs right before the snapshot."""
    thaw: str | None = None
    """Runs right after the snapshot, and whenever ``freeze`` was begun. It may run more than once."""
    login: str = ""
    """Name of the login, for :data:`Logins`."""
    seconds: float = DEFAULT_SECONDS
    """Time limit of each command. A command that takes longer is terminated."""
    required: bool = True
    """A failing ``freeze`` fails the backup; else it is a warning of the restore point."""

    def __post_init__(self) -> None:
        """Refuse commands that cannot be run, and a freeze that nothing would take back."""
        for name, command in (("pre-freeze", self.freeze), ("post-thaw", self.thaw)):
            if command is None:
                continue
            if not command.strip() or _NOT_ONE_LINE.search(command):
                raise UsageError(f"the {name} command is empty, or holds a line end or a tab: give one line")
            if _UNSENDABLE.search(command):
                raise UsageError(f"the {name} command holds a character that cannot be sent to the guest: give UTF-8")
        if self.thaw is None:
            raise UsageError("a pre-freeze command needs a post-thaw command, because something has to thaw the guest")
        if not 1 <= self.seconds <= LONGEST_SECONDS:
            raise UsageError(
                f"the time limit of commands in the guest is {self.seconds:g} s: give 1 to {LONGEST_SECONDS:.0f} s"
            )


class CommandOutcome(StrEnum):
    """The outcome of one command in the guest."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_RUN = "not-run"
    """The guest did not run, or was held still by the mode of the backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsRun:
    """The outcomes of a backup's commands in the guest, as a restore point keeps them."""

    freeze: str | None = None
    """A :class:`CommandOutcome`, as plain text, so that a program reads the points of a newer one; ``None``: there was
    no such command."""
    thaw: str | None = None

    def __str__(self) -> str:
        """Return the outcomes as one line."""
        told = (("pre-freeze", self.freeze), ("post-thaw", self.thaw))
        return ", ".join(f"{name} {outcome}" for name, outcome in told if outcome is not None)


def outcomes(commands: GuestCommands, outcome: CommandOutcome) -> CommandsRun:
    """Return the record of commands that all had one outcome."""
    return CommandsRun(freeze=outcome if commands.freeze else None, thaw=outcome if commands.thaw else None)


class FreezeFailure(StrEnum):
    """The consequence of a freeze command that fails."""

    FAIL = "fail"
    """The backup fails before the snapshot."""
    WARN = "warn"
    """The restore point gets a warning."""


def commands_from(
    *, freeze: str | None, thaw: str | None, login: str | None, seconds: float, failure: str
) -> GuestCommands | None:
    """Return the commands of a request; ``None``: it names none.

    :param failure: a :class:`FreezeFailure`.
    :raises UsageError: the values do not fit together.
    """
    if not freeze and not thaw:
        return None
    if not login:
        raise UsageError("commands in the guest need a user of the guest: name the user, or the connection with it")
    required = FreezeFailure(failure) is FreezeFailure.FAIL
    return GuestCommands(freeze=freeze or None, thaw=thaw or None, login=login, seconds=seconds, required=required)
