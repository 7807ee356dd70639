"""Lets a repository ask the catalog of which VMs its points are, so that ``latest:NAME`` need not read one of each VM.

The catalog is only a hint. The names of points are always listed from the repository, a point that the catalog does not
know is read, and so is the one that is chosen. So a catalog that is missing, old or unreadable costs time and nothing
else. One in which somebody has written a wrong name can hide a VM, and the error that no point was found says so.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from vmkeep.blobs import is_remote
from vmkeep.errors import CatalogError
from vmkeep.model.knownpoint import KnownPoint
from vmkeep.model.point import RestorePoint
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository

if TYPE_CHECKING:
    from vmkeep.catalog import Catalog

log = logging.getLogger(__name__)
T = TypeVar("T")
_IN_MEMORY = "sqlite://"
_QUERY: Final = 2
"""Number of manifests that are read in the time of a query."""
_LOADING_LOCAL: Final = 512
"""Number of manifests that are read from a folder in less time than it takes to load SQLAlchemy: 0.3 s."""
_LOADING_REMOTE: Final = 64
"""The same, where each manifest is a request to a server."""


def use_catalog(repository: Repository, find_url: Callable[[], str | None]) -> Repository:
    """Return a repository that asks the catalog where that saves reading manifests.

    :param find_url: returns the catalog's URL; ``None``: there is none. It is called at the first question.
    """
    repository.manifests.memory = _CataloguedPoints(
        repository.id, find_url, loading=_LOADING_REMOTE if is_remote(repository.blobs) else _LOADING_LOCAL
    )
    return repository


def open_with_catalog(site: Site) -> Repository:
    """Open the repository of a site, for a flow that looks for the point that a person means."""
    return use_catalog(open_site_repository(site), lambda: site.catalog)


class _CataloguedPoints:
    """The points of one repository that the catalog has."""

    def __init__(self, repository: str, find_url: Callable[[], str | None], *, loading: int) -> None:
        self._repository = repository
        self._find_url = find_url
        self._loading = loading
        self._fails = False

    @property
    def price(self) -> int:
        """Number of manifests that are read in the time of an answer. A process of Airflow has loaded SQLAlchemy."""
        return _QUERY if "sqlalchemy" in sys.modules else self._loading

    def known(self, refs: Collection[str]) -> Mapping[str, KnownPoint]:
        """Return the facts of those points that the catalog has, by ref."""
        return self._asked(lambda catalog: catalog.known(self._repository, refs)) or {}

    def keep(self, points: Sequence[RestorePoint]) -> None:
        """Enter points into the catalog, so that nobody reads them again to find a VM's name."""
        self._asked(lambda catalog: catalog.enter(self._repository, points))

    def _asked(self, question: Callable[[Catalog], T]) -> T | None:
        if self._fails or (url := self._find_url()) in (None, _IN_MEMORY):
            return None
        from vmkeep.catalog import open_catalog  # loads SQLAlchemy

        try:
            with open_catalog(url) as catalog:
                return question(catalog)
        except CatalogError as error:
            self._fails = True
            log.warning("%s; the newest point of each VM is read instead, which takes longer", error)
            return None
