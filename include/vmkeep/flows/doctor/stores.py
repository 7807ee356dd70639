"""Asks a repository: opens it, and writes, reads, lists and removes a small probe, as a backup and a prune do."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from vmkeep.blobs import LEAST_RESERVE, is_there, locks_of, require_creates, reserve_of, space_of
from vmkeep.clock import now
from vmkeep.errors import VerificationError
from vmkeep.flows.doctor import clocks, spaces
from vmkeep.flows.doctor.examination import Answers, Subject
from vmkeep.flows.doctor.values import Answer, fault, ok, unknown, warning
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.repository.folders import PROBES

_OPEN, _WRITE, _CREATE, _LOCKS, _SPACE, _CLOCK, _CATALOG = (
    "open", "write and remove", "never overwrites", "locks", "free space", "clock", "catalog",
)  # fmt: skip
_SIZE: Final = 4096
_SECONDS: Final = 180.0
"""Seconds for one repository. A proof that locks are kept waits for the end of a short lock."""


def repository_subject(
    location: str, opening: Callable[[], Repository], *, catalog: str | None, label: str = ""
) -> Subject:
    """Return a repository as a subject.

    :param opening: opens the repository.
    :param catalog: SQLAlchemy URL of its catalog; ``None``: it has none.
    """
    names = (_OPEN, _WRITE, _CREATE, _LOCKS, _SPACE, _CLOCK)
    return Subject(
        about=f"repository {location}{f' ({label})' if label else ''}",
        names=(*names, _CATALOG) if catalog else names,
        ask=lambda answers: _ask(answers, opening, catalog),
        seconds=_SECONDS,
    )


def _ask(answers: Answers, opening: Callable[[], Repository], catalog: str | None) -> None:
    opened: list[Repository] = []

    def open_it() -> Answer:
        opened.append(opening())
        kind = "encrypted" if opened[0].encrypted else "not encrypted"
        return ok(f"repository {opened[0].id}, {kind}")

    if catalog:
        answers.ask(_CATALOG, lambda: _catalog(catalog), needed=True)
    if not answers.ask(_OPEN, open_it, needed=True):
        return
    with opened[0] as repository:
        differences: list[timedelta] = []
        if answers.ask(_WRITE, lambda: _probe(repository, differences), needed=True):
            if differences:
                answers.add(_CLOCK, clocks.judge(differences[0], "the store's clock"))
            answers.ask(_CREATE, lambda: _creates(repository))
        answers.ask(_SPACE, lambda: _space(repository))
        answers.ask(_LOCKS, lambda: _locks(repository))


def _probe(repository: Repository, differences: list[timedelta]) -> Answer:
    """Put a probe, read it back, find it in a listing, and remove it; leave the difference of the store's clock."""
    store, key, content = repository.blobs, f"{PROBES}{secrets.token_hex(8)}", secrets.token_bytes(_SIZE)
    before = now()
    store.put(key, content)
    after = now()
    try:
        if store.get(key) != content:
            raise VerificationError(f"{store.location}: a probe of {_SIZE} bytes was read back with other bytes")
        listed = [blob for blob in store.list(PROBES) if blob.key == key]
        if not listed:
            return fault("a probe that was written is not in the list of what is there", "use another store")
        differences.append(clocks.difference(listed[0].modified, before, after))
    finally:
        store.delete(key)
    if is_there(store, key):
        return fault("a probe that was removed is still there", "let the user of this machine delete there")
    return ok(f"a probe of {_SIZE} bytes was written, read back, listed and removed")


def _creates(repository: Repository) -> Answer:
    require_creates(repository.blobs)
    return ok("of two writers of one name only the first succeeds")


def _locks(repository: Repository) -> Answer:
    rule = repository.descriptor.lock
    if rule is None:
        return ok("the repository asks for no locks")
    asked = f"the repository asks for locks of {rule.days} days ({rule.mode.value})"
    if (locks := locks_of(repository.blobs)) is None:
        return fault(f"{asked}, and this store keeps none", "copy it to S3 with Object Lock ('vmkeep repo copy')")
    locks.check()
    return ok(f"{asked}, and the store has kept one")


def _space(repository: Repository) -> list[Answer]:
    space = space_of(repository.blobs)
    if space is None:
        answer = unknown("the store does not tell how much more it takes", "watch its size where it is paid for")
    else:
        answer = spaces.judge(space.free, space.capacity, "the repository", least=1 << 30)
    reserve = reserve_of(repository.blobs)
    if reserve is None or (held := reserve.reserved()) >= LEAST_RESERVE:
        return [answer]
    told = (
        f"only {size(held)} of {size(LEAST_RESERVE)} are held back for deletions, which have to write down what they "
        "delete: on a full disk they may find no room for that"
    )
    return [answer, warning(told, "make room; the next backup or prune holds it back")]


def _catalog(url: str) -> Answer:
    from vmkeep.catalog import open_catalog  # takes 0.2 s to import

    with open_catalog(url):
        return ok("the catalog's database answers")
