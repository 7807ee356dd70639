"""Reads the rate limits of repositories from their connections, and changes one there, as the user who calls."""

from __future__ import annotations

import json
from typing import Any

from airflow.models import Connection
from airflow.utils.session import create_session
from fastapi import HTTPException, status
from sqlalchemy import select

from vmkeep.errors import NotFoundError, UsageError
from vmkeep.flows.repositories import require_rate
from vmkeep.web import RateLimit
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.web.access import may_administer
from vmkeep_airflow.web.ownapi import OwnApi
from vmkeep_airflow.web.sources import find_connections

_FIELD = "limit_rate"


def find_limits(user: Any) -> tuple[tuple[RateLimit, ...], tuple[str, ...]]:
    """Return the limit of each connection to a repository, and a sentence for each connection that cannot be read."""
    limits, problems = [], []
    for conn_id in find_connections():
        hook = RepositoryHook(conn_id)
        try:
            location, limit_rate = hook.location(), hook.limit_rate()
        except UsageError as error:
            if conn_id != RepositoryHook.default_conn_name:
                problems.append(str(error))
            continue
        limits.append(
            RateLimit(
                conn_id=conn_id,
                location=location,
                limit_rate=limit_rate,
                may_change=may_administer(user, conn_id),
            )
        )
    return tuple(limits), tuple(problems)


def change_limit(api: OwnApi, conn_id: str, text: str) -> str | None:
    """Write a limit into the connection of a repository, and return the one before.

    Work that runs notices it by itself.

    :param text: empty: there is no limit any more.
    :raises UsageError: the text is no limit.
    :raises NotFoundError: no connection to a repository has this id.
    :raises HTTPException: 403: the user may not edit the connection; 409: it is not in Airflow's database.
    """
    if conn_id not in find_connections():
        raise NotFoundError(f"Airflow has no connection {conn_id} to a repository: the page 'Running now' lists them")
    if text:
        require_rate(text)
    with create_session() as session:
        wanted = select(Connection).where(
            Connection.conn_id == conn_id, Connection.conn_type == RepositoryHook.conn_type
        )
        found = session.scalar(wanted)
        fields = dict(found.extra_dejson) if found is not None else None
    if fields is None or (fields.get(_FIELD) or None) != RepositoryHook(conn_id).limit_rate():
        raise HTTPException(
            status.HTTP_409_CONFLICT,
            f"Connection {conn_id} as tasks see it is not that of Airflow's database. Change its limit where it is "
            "set: in the environment, or in the secrets backend.",
        )
    before = fields.get(_FIELD) or None
    fields = {name: value for name, value in fields.items() if name != _FIELD} | ({_FIELD: text} if text else {})
    body = {"connection_id": conn_id, "conn_type": RepositoryHook.conn_type, "extra": json.dumps(fields)}
    answer = api.patch("connections", conn_id, body=body, update_mask="extra")
    if not answer.is_good:
        raise HTTPException(answer.code, f"Airflow did not take it: {answer.why}")
    return str(before) if before is not None else None
