"""Airflow's part of an examination: the connections that it knows, and the pools of the proxies.

``vmkeep doctor --airflow`` finds :func:`subjects` by an entry point. It runs outside of a task, on a machine that
reaches Airflow's database, as the hub does. Elsewhere only the connections of the environment are known, and the
answers say so.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from airflow.sdk import BaseHook
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from vmkeep.errors import VmKeepError
from vmkeep.flows.doctor import Answer, Answers, State, Subject
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.proxies import proxies

log = logging.getLogger(__name__)
_VARIABLE: Final = "AIRFLOW_CONN_"
_TYPES: Final = (VsphereHook.conn_type, RepositoryHook.conn_type)
_OUT_OF_REACH = (SQLAlchemyError, RuntimeError)
"""Errors of a machine that does not reach the database. Airflow keeps some processes from it by a RuntimeError."""
_UNREADABLE: Final = "unreadable"
"""Stands for the type of a connection in the environment that nobody can read. It may be one of ours."""
_CONNECTIONS, _POOLS = "connections", "pools"


def subjects() -> list[Subject]:
    """Return each vCenter and repository that Airflow has a connection to, and Airflow itself."""
    listed, why = _listed()
    found = [_subject(conn_id, kind) for conn_id, kind in sorted(listed.items())]
    return [Subject(about="Airflow", names=(_CONNECTIONS, _POOLS), ask=lambda to: _ask(to, listed, why)), *found]


def _subject(conn_id: str, kind: str) -> Subject:
    if kind == _UNREADABLE:
        told = Answer(
            state=State.WARNING,
            text=f"the environment's variable {_VARIABLE}{conn_id.upper()} cannot be read as a connection",
            remedy="write it as JSON or as a URI; backups that need it fail",
        )
        return Subject(about=f"connection {conn_id}", names=("fields",), ask=lambda to: to.add("fields", told))
    try:
        if kind == VsphereHook.conn_type:
            return _vcenter(VsphereHook(conn_id))
        return RepositoryHook(conn_id).subject()
    except VmKeepError as error:
        told = Answer(state=State.FAULT, text=str(error), remedy="correct it under Admin > Connections")
        return Subject(about=f"connection {conn_id}", names=("fields",), ask=lambda to: to.add("fields", told))


def _vcenter(hook: VsphereHook) -> Subject:
    """Return a vCenter. A hub, which has no VDDK, need not reach the hosts."""
    return hook.subject(proxy=bool(hook.vddk) and Path(hook.vddk or "").is_dir())


def _listed() -> tuple[dict[str, str], str]:
    """Return the type of each connection that is ours, and the reason why there may be more; empty: there are none."""
    found: dict[str, str] = {}
    why = ""
    try:
        found = _in_database()
    except _OUT_OF_REACH as error:
        why = f"Airflow's database cannot be asked from this machine ({type(error).__name__})"
    for name in os.environ:
        if name.startswith(_VARIABLE):
            conn_id = name.removeprefix(_VARIABLE).lower()
            kind = _kind_in_environment(conn_id)
            if kind in (*_TYPES, _UNREADABLE):
                found[conn_id] = kind
    return found, why


def _kind_in_environment(conn_id: str) -> str:
    try:
        return str(BaseHook.get_connection(conn_id).conn_type)
    except Exception as error:  # noqa: BLE001 - any text may stand in a variable, and each parser has errors of its own
        log.debug("connection %s: %s", conn_id, type(error).__name__)  # no text: it may hold the password
        return _UNREADABLE


def _in_database() -> dict[str, str]:
    from airflow.models.connection import Connection

    with create_session() as session:
        rows = session.execute(select(Connection.conn_id, Connection.conn_type)).all()
    return {str(conn_id): str(kind) for conn_id, kind in rows if kind in _TYPES}


def _ask(answers: Answers, listed: dict[str, str], why: str) -> None:
    answers.add(_CONNECTIONS, _connections(listed, why))
    answers.ask(_POOLS, _pools)


def _connections(listed: dict[str, str], why: str) -> Answer:
    if why:
        return _unknown(f"{why}; of its environment it knows {len(listed)}")
    read = [kind for kind in listed.values() if kind != _UNREADABLE]
    missing = [kind for kind in _TYPES if kind not in read]
    if missing:
        return Answer(
            state=State.FAULT,
            text=f"there is no connection of type {' and none of type '.join(missing)}",
            remedy="make it under Admin > Connections; those of a secrets backend cannot be listed here",
        )
    return Answer(state=State.OK, text=f"{len(read)} connections to vCenters and repositories")


def _unknown(text: str) -> Answer:
    return Answer(state=State.UNKNOWN, text=text, remedy="run the command on the hub, as the user of its services")


def _pools() -> list[Answer]:
    """Return an answer for each pool that lets no disk be copied, and one for all others together."""
    from airflow.models.pool import Pool

    try:
        with create_session() as session:
            slots = {str(name): int(number) for name, number in session.execute(select(Pool.pool, Pool.slots)).all()}
    except _OUT_OF_REACH as error:
        return [_unknown(f"Airflow's database cannot be asked from this machine ({type(error).__name__})")]
    answers, good = [], []
    for name in proxies():
        if name not in slots:
            told = f"pool {name} is missing: tasks of its proxies wait until a run of vmkeep's makes it"
            answers.append(Answer(state=State.WARNING, text=told, remedy="restart the scheduler, which makes it"))
        elif slots[name] == 0:
            told = f"pool {name} has no slots, so that no disk is copied by its proxies"
            answers.append(Answer(state=State.FAULT, text=told, remedy="give it slots under Admin > Pools"))
        else:
            good.append(f"{name} ({slots[name]} slots)")
    if good:
        answers.insert(0, Answer(state=State.OK, text=f"pools {', '.join(good)}"))
    return answers
