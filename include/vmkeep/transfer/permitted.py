"""Takes the permits of one transfer before its disk is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vmkeep.model.limits import Holder, Limit
from vmkeep.model.transport import TransportMode
from vmkeep.repository import Repository

_WITHOUT_NFC = frozenset({TransportMode.SAN, TransportMode.HOTADD})


@contextmanager
def permitted(
    repository: Repository, limits: Sequence[Limit], *, run: str, lease: str, what: str
) -> Iterator[Callable[[str], None]]:
    """Take a permit of each limit before a disk is opened. They end with the transfer's lease, also if it dies.

    :param lease: name of the lease that the transfer holds.
    :param what: the transfer, for people who look who holds a permit.
    :returns: a function that takes the transport mode of the open disk. If that mode uses no NFC session, the permits
        for such sessions are given back at once.
    :raises LimitReachedError: a permit is not free. End the lease, and ask again later.
    """
    holder = Holder(owner=f"{run}/{lease}", run=run, what=what, lease=lease)
    for limit in limits:
        repository.permits(limit).take(holder)

    def settle(transport: str) -> None:
        if transport in _WITHOUT_NFC:
            for limit in limits:
                if limit.of_nfc:
                    repository.permits(limit).give_back(holder.owner)

    yield settle
