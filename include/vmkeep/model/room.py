"""The space that new files need on a datastore, compared with the space that is free there. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vmkeep.errors import ConflictError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import size


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreNeed:
    """The space that a VM needs on one datastore. All sizes are bytes."""

    datastore: str
    """Managed object id."""
    name: str
    free: int
    """The free space when the plan was made."""
    whole: int = 0
    """The sizes of the disks for which the datastore sets their whole size aside at once."""
    thin: int = 0
    """The sizes of the other disks, which take space only as they are written."""
    thin_disks: tuple[str, ...] = ()
    """Addresses of these other disks."""
    content: int | None = None
    """The content that is written to these other disks; ``None``: it was not counted, because all sizes fit."""
    swap: int = 0
    """The swap file of a VM that is switched on."""

    @property
    def certain(self) -> int:
        """The space that is taken for certain before the VM can be used."""
        return self.whole + (self.content or 0)

    @property
    def most(self) -> int:
        """The space that is taken when every disk has grown to its size."""
        return self.whole + self.thin + self.swap


def joined(needs: Iterable[StoreNeed]) -> StoreNeed:
    """Return the common need of several VMs on one datastore. Of several numbers of free bytes, the least counts."""
    listed = list(needs)
    return StoreNeed(
        datastore=listed[0].datastore,
        name=listed[0].name,
        free=min(need.free for need in listed),
        whole=sum(need.whole for need in listed),
        thin=sum(need.thin for need in listed),
        content=sum(need.content or 0 for need in listed),
        swap=sum(need.swap for need in listed),
    )


def require_room(need: StoreNeed, takes: str, *, remedy: str) -> None:
    """Return if a datastore has the space that is taken for certain.

    A datastore that runs full stops every VM that has a thin disk on it.

    :param takes: names the files, with their verb.
    :raises ConflictError: it has less.
    """
    if need.certain > need.free:
        raise ConflictError(
            f"datastore {need.name} has {size(need.free)} free, and {takes} {size(need.certain)}: {remedy}"
        )


def growth(need: StoreNeed, grows: str) -> tuple[str, ...]:
    """Warn of a datastore that has less space than its files can grow to.

    :param grows: names the files, with their verb.
    """
    if need.most <= need.free:
        return ()
    return (f"datastore {need.name} has {size(need.free)} free, and {grows} {size(need.most)}",)
