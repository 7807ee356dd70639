"""The question before a command takes away what nobody can bring back.

The command looks first, and says with numbers what would go. Then it asks, and begins after a yes alone. Where nobody
can be asked it ends there, with the plan on the screen or in the log, and names the option that answers beforehand.
"""

from __future__ import annotations

import sys

import click

from vmkeep.cli.pages import option
from vmkeep.errors import CancelledError, UsageError

yes_option = option("--yes", is_flag=True, help="Do not ask.")


def require_yes(question: str | None, *, yes: bool, as_json: bool) -> None:
    """Return if a person means it.

    :param question: what would be done; ``None``: nothing would go, so nobody is asked. A script has to say yes all the
        same, because next time something may go.
    :raises UsageError: nobody can be asked, and nobody has said yes beforehand.
    :raises CancelledError: the answer is no.
    """
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        asked = f' "{question}"' if question else ""
        raise UsageError(
            f"nobody can be asked here{asked}, so nothing was changed: add --yes to do it, or --dry-run to see the plan"
        )
    if question and not click.confirm(question, err=True):
        raise CancelledError("the answer is no, so nothing was changed")
