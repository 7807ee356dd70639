"""The warnings of a command that went on without the restore points that it could not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmkeep.cli.output import warn
from vmkeep.errors import CorruptError
from vmkeep.model.wording import agreeing, counted_of

if TYPE_CHECKING:
    from vmkeep.flows.pointlist import Refreshed


def tell_left_out(refreshed: Refreshed) -> None:
    """Name the points that are not in the catalog, and the reason of each.

    :raises CorruptError: there are some.
    """
    for left_out in refreshed.damaged:
        warn(f"damaged restore point {left_out}")
    if count := len(refreshed.damaged):
        raise CorruptError(
            f"{counted_of(count, refreshed.total, 'restore point')} {agreeing(count, 'was', 'were')} left out, because "
            f"{agreeing(count, 'it', 'they')} cannot be read: see above"
        )
