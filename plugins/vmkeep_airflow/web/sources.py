"""Finds the catalogs and the policies that the pages are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from airflow.models import Connection, DagModel
from airflow.utils.session import create_session
from sqlalchemy import select

from vmkeep.errors import CatalogError, VmKeepError
from vmkeep.flows.fleet import ListedPoint, load_points
from vmkeep.policy import Policy, PolicyFile
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.web.limits import from_catalogs


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that the pages read, as the connections and the policy files name it now."""

    catalogs: tuple[str, ...]
    """SQLAlchemy URLs, with their passwords."""
    files: tuple[PolicyFile, ...]
    conn_ids: tuple[tuple[str, str], ...]
    """Connections, each with its catalog."""
    unread: tuple[str, ...]
    """A sentence for each repository whose points are missing."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies without faults."""
        return tuple(read.policy for read in self.files if read.policy is not None)

    @property
    def names(self) -> dict[str, str]:
        """Words for the repositories of each catalog, for those that nobody has looked at."""
        found: dict[str, list[str]] = {}
        for conn_id, catalog in self.conn_ids:
            found.setdefault(catalog, []).append(conn_id)
        return {catalog: f"connection {' or '.join(conn_ids)}" for catalog, conn_ids in found.items()}

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each repository or policy whose part is missing."""
        faulty = sorted(read.path.name for read in self.files if read.policy is None)
        return (*(f"policy file {name} has faults: see the page of policies" for name in faulty), *self.unread)


def find_sources() -> Sources:
    """Read the policy files, and the connections that they name or that the database has."""
    files = policy_files()
    unread: list[str] = []
    catalogs: list[tuple[str, str]] = []
    for conn_id in dict.fromkeys(_conn_ids(read.policy for read in files if read.policy is not None)):
        try:
            place = RepositoryHook(conn_id).get_conn()
        except MissingConnectionError as error:
            if conn_id != RepositoryHook.default_conn_name:
                unread.append(str(error))
            continue
        except VmKeepError as error:
            unread.append(f"connection {conn_id}: {error}")
            continue
        if place.catalog is None:
            unread.append(f"connection {conn_id} names no catalog, so that its points are not shown")
        else:
            catalogs.append((conn_id, place.catalog))
    return Sources(
        catalogs=tuple(dict.fromkeys(url for _, url in catalogs)), files=files, conn_ids=tuple(catalogs),
        unread=tuple(unread),
    )  # fmt: skip


def find_connections() -> tuple[str, ...]:
    """Return the ids of the connections to repositories."""
    policies = tuple(read.policy for read in policy_files() if read.policy is not None)
    return tuple(dict.fromkeys(_conn_ids(policies)))


def _conn_ids(policies: Iterable[Policy]) -> Iterator[str]:
    """Yield the connections to repositories: the default one, those of policies, and those that people made."""
    yield RepositoryHook.default_conn_name
    for policy in policies:
        yield policy.repository
        yield from policy.copies
    with create_session() as session:
        yield from session.scalars(select(Connection.conn_id).where(Connection.conn_type == RepositoryHook.conn_type))


def dags_off(dag_ids: Collection[str]) -> set[str]:
    """Return those of some DAGs that Airflow has and that are switched off, as each new one is."""
    query = select(DagModel.dag_id).where(
        DagModel.dag_id.in_(dag_ids), DagModel.is_paused, DagModel.is_stale.is_(False)
    )
    with create_session() as session:
        return set(session.scalars(query))


def required_sources() -> Sources:
    """Return the sources, if they name a catalog.

    :raises CatalogError: no connection names one.
    """
    sources = find_sources()
    require_catalog(sources, ())
    return sources


def require_catalog(sources: Sources, unread: Sequence[str]) -> None:
    """Hold that some catalog was read. Data without rows would say that nothing is there.

    :param unread: a sentence for each catalog of the sources that could not be read.
    :raises CatalogError: none was.
    """
    if not sources.catalogs:
        why = "; ".join(sources.problems) or "there is no connection of type vmkeep"
        raise CatalogError(f"no connection names a catalog that can be used: {why}")
    if len(unread) >= len(sources.catalogs):
        raise CatalogError(f"no catalog can be read: {'; '.join(unread)}")


def load_point(point_id: str) -> ListedPoint:
    """Return a point.

    :raises NotFoundError: no catalog has it.
    :raises CatalogError: no catalog can be read.
    """
    catalogs = required_sources().catalogs
    return from_catalogs(lambda: load_points(catalogs, point_id))[0]
