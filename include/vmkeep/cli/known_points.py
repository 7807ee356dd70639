"""The restore points that a list of VMs is joined with, where a repository is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmkeep.cli.options import catalog_url, open_quietly
from vmkeep.cli.output import warn
from vmkeep.errors import VmKeepError

if TYPE_CHECKING:
    from vmkeep.flows.pointlist import PointOrigin


def known_origins(repository: str | None) -> Sequence[PointOrigin] | None:
    """Return the origins of the repository's points; nothing where none is given, or it cannot be read."""
    if not repository:
        return None
    from vmkeep.flows import pointlist  # takes time to import

    try:
        with open_quietly(repository) as opened:
            return pointlist.list_origins(opened, catalog=catalog_url())
    except VmKeepError as error:
        warn(f"the list goes without restore points: {error}")
        return None
