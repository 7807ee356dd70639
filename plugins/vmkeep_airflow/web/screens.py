"""Reads the picture of a screen out of a repository. It is the only call of the web view that opens one.

A picture shows the content of a guest. It stays in the repository, encrypted if the repository is, and no catalog gets
a copy of it.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack

from vmkeep.errors import NotFoundError, VmKeepError
from vmkeep.flows.points import picture
from vmkeep.flows.repositories import open_site_repository
from vmkeep_airflow.site import repository_site
from vmkeep_airflow.web.sources import find_connections

log = logging.getLogger(__name__)


def load_screen(repository: str, ref: str) -> bytes:
    """Return the newest picture that is kept with a point (PNG).

    :param repository: the repository's id.
    :raises NotFoundError: no connection leads to the repository, or the point has no picture.
    :raises CorruptError: the picture is damaged.
    """
    for conn_id in find_connections():
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(open_site_repository(repository_site(conn_id)))
            except VmKeepError as error:
                log.warning("connection %s, which may lead to the repository: %s", conn_id, error)
                continue
            if opened.id == repository:
                return picture(opened, ref)[1]
    raise NotFoundError(f"no connection that works leads to the repository {repository}")
