"""What a command says that went on without the restore points that it could not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.errors import CorruptError

if TYPE_CHECKING:
    from vmkeep.catalog import Refreshed


def tell_left_out(refreshed: Refreshed) -> None:
    """Tell which points are not in the catalog, and why.

    :raises CorruptError: there are some.
    """
    for left_out in refreshed.damaged:
        click.echo(f"warning: damaged restore point {left_out}", err=True)
    if count := len(refreshed.damaged):
        raise CorruptError(
            f"{count} of {refreshed.total} restore points were left out, because they cannot be read: see above"
        )
