"""Reads what only a repository has, when a person asks for it: the picture of a screen, and a saved configuration.

A picture shows the content of a guest. Both stay in the repository, encrypted if the repository is, and no catalog gets
a copy of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from vmkeep.errors import NotFoundError, VmKeepError
from vmkeep.flows.points import picture
from vmkeep.flows.repositories import Repository, open_site_repository
from vmkeep.flows.saved_machine import saved_machine
from vmkeep.model.portable import PortableMachine
from vmkeep_airflow.site import repository_site
from vmkeep_airflow.web.sources import find_connections

log = logging.getLogger(__name__)


def load_screen(repository: str, ref: str) -> bytes:
    """Return the newest picture that is kept with a point (PNG).

    :param repository: the repository's id.
    :raises NotFoundError: no connection leads to the repository, or the point has no picture.
    :raises CorruptError: the picture is damaged.
    """
    with _opened(repository) as opened:
        return picture(opened, ref)[1]


def load_machine(repository: str, ref: str) -> PortableMachine:
    """Return the machine that a point's saved configuration describes.

    :param repository: the repository's id.
    :raises NotFoundError: no connection leads to the repository, or the point was removed.
    :raises CorruptError: the point or its configuration is damaged.
    """
    with _opened(repository) as opened:
        return saved_machine(opened, opened.find_point(ref))


@contextmanager
def _opened(repository: str) -> Iterator[Repository]:
    """Open the repository with an id, by the connection that leads to it."""
    for conn_id in find_connections():
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(open_site_repository(repository_site(conn_id)))
            except VmKeepError as error:
                log.warning("connection %s, which may lead to the repository: %s", conn_id, error)
                continue
            if opened.id == repository:
                yield opened
                return
    raise NotFoundError(f"no connection that works leads to the repository {repository}")
