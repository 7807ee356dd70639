"""Says who calls the web view, and what they may do: by Airflow's own log-in and its auth manager, on every call.

Airflow mounts a plugin's app without asking who calls it. So each route depends on :func:`viewer` or
:func:`operator`, and a test goes through all routes without a log-in.

A browser sends its cookie along with a form of any page. So a call that changes something, and is known by its cookie,
must come from a page of this server.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, status
from starlette.datastructures import Headers

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def may_view(user: Any) -> bool:
    """Return whether a user may see the pages: who may see the DAG that backs up."""
    return get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id="vm_backup"), user=user)


def may_operate(user: Any) -> bool:
    """Return whether a user may see the content of guests: who may start a restore."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id="vm_restore"), user=user
    )


def may_administer(user: Any, repository_conn_id: str | None) -> bool:
    """Return whether a user may overwrite and delete: who may edit the connection of the repository.

    :param repository_conn_id: ``None``: every connection, because nobody knows which repository it is.
    """
    details = ConnectionDetails(conn_id=repository_conn_id)
    return get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user)


def may_audit(user: Any) -> bool:
    """Return whether a user may see who did what: who may restore, and read Airflow's own audit log.

    The first, because an entry names files of guests. The second, because the page must lead round no right of Airflow.
    """
    reads = get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.AUDIT_LOG, details=DagDetails(id="vm_restore"), user=user
    )
    return reads and may_operate(user)


def may_with_runs(user: Any, method: Literal["GET", "PUT"], dag_id: str) -> bool:
    """Return whether a user may do something with the runs of a DAG: see them (``GET``), or change them (``PUT``)."""
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def viewer(user: GetUserDep) -> Any:
    """Return the user who calls.

    :raises HTTPException: 401: nobody is logged in; 403: the user may not see the pages.
    """
    return _allowed(user, is_allowed=may_view(user), needs="see the DAG vm_backup")


def operator(user: GetUserDep) -> Any:
    """Return the user who calls, if that user may restore.

    :raises HTTPException: 401: nobody is logged in; 403: the user may not restore.
    """
    return _allowed(user, is_allowed=may_view(user) and may_operate(user), needs="start the DAG vm_restore")


def auditor(user: GetUserDep) -> Any:
    """Return the user who calls, if that user may see who did what.

    :raises HTTPException: 401: nobody is logged in; 403: the user may not see it.
    """
    needs = "start the DAG vm_restore and read Airflow's audit log of it"
    return _allowed(user, is_allowed=may_view(user) and may_audit(user), needs=needs)


Viewer = Annotated[Any, Depends(viewer)]
Operator = Annotated[Any, Depends(operator)]
Auditor = Annotated[Any, Depends(auditor)]


def _allowed(user: Any, *, is_allowed: bool, needs: str) -> Any:
    if not is_allowed:
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Only who may {needs} may see this. Ask your administrator.")
    return user


def token_of(headers: Headers) -> str:
    """Return the token by which a header says who calls; empty: there is none, and Airflow goes by the cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def is_foreign(method: str, headers: Headers) -> bool:
    """Return whether a call may have been made by a page of another server in the user's browser.

    A call with a token in its header is no browser's: a foreign page cannot know the token. Otherwise a call that
    changes something must say that it comes from this server.
    """
    if method in SAFE_METHODS or token_of(headers):
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    origin = url_in(headers, "origin").netloc
    return not origin or origin != headers.get("host")


def url_in(headers: Headers, name: str) -> SplitResult:
    """Return the URL in a header of a client; one without anything: the client has sent none, or something else."""
    try:
        return urlsplit(headers.get(name, ""))
    except ValueError:
        return urlsplit("")
