"""Reads the fields of one connection. An error says where a person sets a missing field."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from vmkeep.errors import UsageError


class MissingConnectionError(UsageError):
    """Airflow has no connection of that name."""


def load_connection(conn_id: str, *, conn_type: str) -> Connection:
    """Return the connection ``conn_id``.

    :raises MissingConnectionError: there is no such connection.
    :raises UsageError: it is of another type.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise MissingConnectionError(
            f"Airflow connection {conn_id!r} does not exist: create it under Admin > Connections, type {conn_type!r}"
        ) from error
    if connection.conn_type != conn_type:
        raise UsageError(f"Airflow connection {conn_id!r} is of type {connection.conn_type!r}, not {conn_type!r}")
    return connection


def required(connection: Connection, field: str, *, label: str) -> str:
    """Return a standard field (``host``, ``login``, ``password``).

    :raises UsageError: the field is empty.
    """
    value: str | None = getattr(connection, field)
    if not value:
        raise UsageError(
            f"Airflow connection {connection.conn_id!r} has no {label}: fill it in under Admin > Connections"
        )
    return value


def extra(connection: Connection, field: str) -> str | None:
    """Return a field from the connection's ``extra``; ``None``: it is empty or not set. The number 0 is a value."""
    value = connection.extra_dejson.get(field)
    return None if value is None or value is False or value == "" else str(value)


def require_open(connection: Connection, url: str, *, label: str, remedy: str) -> None:
    """Return if a URL holds no password, because Airflow shows the field to everyone who may see connections.

    :raises UsageError: ``url`` holds a password, or is none. The message does not repeat it.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(
            f"Airflow connection {connection.conn_id!r} has a {label} that cannot be read: {error}; correct it under "
            "Admin > Connections"
        ) from error
    if ":" in parts.netloc.rpartition("@")[0] or re.search(r"(?i)(password|passwd|pwd)=", unquote(parts.query)):
        raise UsageError(
            f"Airflow connection {connection.conn_id!r} has a password in its {label}, which Airflow shows to everyone "
            f"who may look at connections: {remedy}"
        )


def with_password(url: str, password: str) -> str:
    """Return a database's URL with a password added to it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
