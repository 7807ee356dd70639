"""The connection type ``vmkeep``: one repository and its catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection

from vmkeep.model.aws import AwsCredentials
from vmkeep_airflow.connectiontests import tell_test
from vmkeep_airflow.hooks.aws import load_aws
from vmkeep_airflow.hooks.fields import extra, load_connection, require_open, required, with_password

if TYPE_CHECKING:
    from vmkeep.flows.doctor import Subject

_KEYS = "a key of the worker's user opens it instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlace:
    """The place of a repository and of its catalog."""

    location: str
    catalog: str | None = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)
    limit_rate: str | None = None
    aws: AwsCredentials | None = field(default=None, repr=False)
    retention: str | None = None
    """The retention rule in the form of :func:`vmkeep.retention.parse_rule`; ``None``: keep all points."""
    time_zone: str = "UTC"
    transfers: str | None = None
    """Number of disks that are copied into or out of the repository at the same time; ``None``: any number."""


class RepositoryHook(BaseHook):
    """Read a ``vmkeep`` connection.

    :param repository_conn_id: Airflow connection to the repository.
    """

    conn_name_attr = "repository_conn_id"
    default_conn_name = "vmkeep_default"
    conn_type = "vmkeep"
    hook_name = "vmkeep repository"

    def __init__(self, repository_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.repository_conn_id = repository_conn_id

    def get_conn(self) -> RepositoryPlace:
        """Return the repository's place, without opening it."""
        connection = load_connection(self.repository_conn_id, conn_type=self.conn_type)
        location = required(connection, "host", label="repository location")
        require_open(connection, location, label="repository location", remedy=_KEYS)
        return RepositoryPlace(
            location=location,
            catalog=_catalog(connection),
            passphrase=connection.password or None,
            limit_rate=extra(connection, "limit_rate"),
            retention=extra(connection, "retention"),
            time_zone=extra(connection, "time_zone") or "UTC",
            transfers=extra(connection, "transfers"),
            aws=load_aws(aws_conn_id) if (aws_conn_id := extra(connection, "aws_conn_id")) else None,
        )

    def location(self) -> str:
        """Return the repository's location, and ask for nothing else.

        :raises vmkeep.errors.UsageError: the connection is missing, of another type, or lacks the location.
        """
        connection = load_connection(self.repository_conn_id, conn_type=self.conn_type)
        location = required(connection, "host", label="repository location")
        require_open(connection, location, label="repository location", remedy=_KEYS)
        return location

    def limit_rate(self) -> str | None:
        """Return the connection's rate limit, and ask for nothing else; ``None``: it has none."""
        return extra(load_connection(self.repository_conn_id, conn_type=self.conn_type), "limit_rate")

    def subject(self) -> Subject:
        """Return the repository as a subject of an examination.

        :raises UsageError: a field of the connection is missing or wrong.
        """
        from vmkeep.flows.doctor import repository_subject
        from vmkeep.flows.repositories import open_repository

        place = self.get_conn()
        return repository_subject(
            place.location,
            lambda: open_repository(place.location, passphrase=place.passphrase, aws=place.aws),
            catalog=place.catalog,
            label=self.repository_conn_id,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Say what is missing, for the button in Airflow's connection form: whether it is writable, and keeps locks."""
        from vmkeep.errors import VmKeepError

        try:
            return tell_test(self.subject())
        except VmKeepError as error:
            return False, str(error)


def _catalog(connection: Connection) -> str | None:
    """Return the catalog's URL, with the password from the field for it."""
    url, password = extra(connection, "catalog"), extra(connection, "catalog_password")
    if url is None:
        return None
    require_open(connection, url, label="catalog's URL", remedy="move it into the field Catalog password")
    return with_password(url, password) if password else url
