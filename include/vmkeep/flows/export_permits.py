"""Applies the limit on a repository's transfers to an export, which speaks with no vCenter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmkeep.model.limits import Holder, Limit
from vmkeep.repository import Repository


def limit_of_transfers(transfers: int) -> Limit:
    """Return the limit on the transfers of a repository."""
    return Limit(key="transfers", name="transfers of the repository", most=transfers)


@contextmanager
def hold_for_export(
    repository: Repository, transfers: int | None, *, run: str, lease: str, what: str
) -> Iterator[Callable[[], None]]:
    """Hold a permit of the repository's transfers while one disk after the other is exported.

    The permit ends with a lease, also if the process dies.

    :param transfers: the limit on the repository's transfers; ``None``: there is none, and nothing is held.
    :param lease: name of the lease, which no other export of the run has.
    :param what: the export, for people.
    :returns: a function to call now and then; its error says that the lease is lost.
    :raises LimitReachedError: no permit is free. Ask again later.
    """
    if transfers is None:
        yield lambda: None
        return
    with repository.run(run).open_lease(lease) as held:
        repository.permits(limit_of_transfers(transfers)).take(
            Holder(owner=f"{run}/{lease}", run=run, what=what, lease=lease)
        )
        yield held.check
