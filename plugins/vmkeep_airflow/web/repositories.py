"""Reads what only a repository has, when a person asks for it: pictures of screens, saved configurations, warnings.

A picture shows the content of a guest. All of them stay in the repository, encrypted if it is, and no catalog gets
a copy of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final, TypeVar

from vmkeep.errors import NotFoundError, UnreachableError, VmKeepError
from vmkeep.flows.points import picture
from vmkeep.flows.repositories import Repository, open_site_repository
from vmkeep.flows.saved_machine import is_of_a_machine, saved_machine
from vmkeep.model.portable import PortableMachine
from vmkeep_airflow.site import repository_site
from vmkeep_airflow.web.limits import within
from vmkeep_airflow.web.sources import find_connections

log = logging.getLogger(__name__)
T = TypeVar("T")

_known: Final[dict[str, str]] = {}
"""Ids of the repositories that connections led to when they were last opened."""


class _AnotherError(Exception):
    """The connection leads to another repository, or to none."""


def load_screen(repository: str, ref: str) -> bytes:
    """Return the newest picture that is kept with a point (PNG).

    :param repository: the repository's id.
    :raises UnreachableError: the repository gives no answer in time.
    :raises NotFoundError: no connection leads to the repository, or the point has no picture.
    :raises CorruptError: the picture is damaged.
    """
    return in_repository(repository, lambda opened: picture(opened, ref)[1])


def load_machine(repository: str, ref: str) -> PortableMachine:
    """Return the machine that a point's saved configuration describes.

    :param repository: the repository's id.
    :raises UnreachableError: the repository gives no answer in time.
    :raises NotFoundError: no connection leads to the repository, or the point was removed.
    :raises CorruptError: the point or its configuration is damaged.
    """
    return in_repository(repository, lambda opened: saved_machine(opened, opened.find_point(ref)))


def is_restorable(repository: str, ref: str) -> bool:
    """Return whether a VM can be made of a point. An imported image may have none, because nobody told its machine.

    :param repository: the repository's id.
    :raises UnreachableError: the repository gives no answer in time.
    :raises NotFoundError: no connection leads to the repository, or the point was removed.
    """
    return in_repository(repository, lambda opened: is_of_a_machine(opened.find_point(ref)))


def load_warnings(repository: str, ref: str) -> tuple[str, ...]:
    """Return the warnings that a backup left in a point.

    :param repository: the repository's id.
    :raises UnreachableError: the repository gives no answer in time.
    :raises NotFoundError: no connection leads to the repository, or the point was removed.
    :raises CorruptError: the point is damaged.
    """
    return in_repository(repository, lambda opened: opened.find_point(ref).warnings)


def connection_to(repository: str) -> str:
    """Return the id of the connection that leads to a repository.

    :raises UnreachableError: the repository gives no answer in time.
    :raises NotFoundError: no connection leads to it.
    """
    in_repository(repository, lambda _opened: None)
    return next(conn_id for conn_id, known in _known.items() if known == repository)


def in_repository(repository: str, work: Callable[[Repository], T]) -> T:
    """Return the result of work in the repository with an id, by the connection that leads to it.

    A connection that led there before is tried first, so that a dead repository keeps nobody from the others.
    """
    conn_ids = sorted(find_connections(), key=lambda conn_id: _known.get(conn_id) != repository)
    silent: list[str] = []
    for conn_id in conn_ids:
        try:
            return within(partial(_try, conn_id, repository, work), f"repository of connection {conn_id}")
        except _AnotherError:
            continue
        except UnreachableError as error:
            if _known.get(conn_id) == repository:
                raise
            silent.append(str(error))
    if silent:
        raise UnreachableError(f"no connection that answers leads to the repository {repository}: {'; '.join(silent)}")
    raise NotFoundError(f"no connection that works leads to the repository {repository}")


def _try(conn_id: str, repository: str, work: Callable[[Repository], T]) -> T:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_site_repository(repository_site(conn_id)))
        except UnreachableError:
            raise
        except VmKeepError as error:
            log.warning("connection %s, which may lead to the repository: %s", conn_id, error)
            raise _AnotherError from error
        _known[conn_id] = opened.id
        if opened.id != repository:
            raise _AnotherError
        return work(opened)
