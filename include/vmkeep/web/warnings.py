"""The page of the warnings that a backup left in its restore point. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from vmkeep.flows.fleet import ListedPoint
from vmkeep.lateclass import dataclass
from vmkeep.web.words import Moment, moment, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningsPage:
    """Everything on the page."""

    name: str
    vm_key: str
    ref: str
    id: str
    taken: Moment
    warnings: tuple[str, ...]


def warnings_page(point: ListedPoint, warnings: Iterable[str], *, now: datetime) -> WarningsPage:
    """Return the page of a point."""
    taken = moment(point.taken_at, now)
    assert taken is not None
    return WarningsPage(
        name=plain(point.vm_name),
        vm_key=point.vm_key,
        ref=point.ref,
        id=point.id,
        taken=taken,
        warnings=tuple(map(plain, warnings)),
    )
