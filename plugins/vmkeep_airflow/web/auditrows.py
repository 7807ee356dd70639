"""Tells which rows of Airflow's log are about vmkeep, and names what a row has only a number of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow.models.asset import AssetModel
from airflow.models.backfill import Backfill
from airflow.models.pool import Pool
from sqlalchemy import select
from sqlalchemy.orm import Session

from vmkeep.web import ASSET_EVENTS, BACKFILL_EVENTS, POOL_EVENTS
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.proxies import proxies

SEVERAL: Final = "~"
"""Airflow's word for several DAGs, which the body of the call names."""
_TYPES: Final = (RepositoryHook.conn_type, VsphereHook.conn_type)
_ASSETS: Final = "vmkeep_"
"""Beginning of the names of all assets of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """The things that Airflow's log names by a number, as its database has them now."""

    assets: Mapping[str, str]
    """Name by number."""
    backfills: Mapping[str, str]
    """DAG by number."""

    @classmethod
    def among(cls, session: Session, rows: Iterable[Any]) -> Numbered:
        """Return what some rows of the log name."""
        noted = [(log.event, details_of(log.extra)) for log in rows]
        assets = _numbers(each.get("asset_id") for event, each in noted if event in ASSET_EVENTS)
        backfills = _numbers(each.get("backfill_id") for event, each in noted if event in BACKFILL_EVENTS)
        names = select(AssetModel.id, AssetModel.name).where(AssetModel.id.in_(assets))
        dags = select(Backfill.id, Backfill.dag_id).where(Backfill.id.in_(backfills))
        return cls(
            assets={str(number): name for number, name in session.execute(names)} if assets else {},
            backfills={str(number): dag for number, dag in session.execute(dags)} if backfills else {},
        )

    def dag_of(self, log: Any, details: Mapping[str, Any]) -> str:
        """Return the DAG of a row; empty: it is about none."""
        return log.dag_id or self.backfills.get(str(details.get("backfill_id")), "")

    def asset_of(self, details: Mapping[str, Any]) -> str:
        """Return the name of the asset of a row; empty: it is about none."""
        return self.assets.get(str(details.get("asset_id")), "")


def _numbers(noted: Iterable[Any]) -> set[int]:
    return {int(each) for each in noted if str(each).isdecimal()}


def details_of(extra: str | None) -> dict[str, Any]:
    """Return the values that Airflow has noted with a row. Connections' own fields are hidden there."""
    try:
        found = json.loads(extra or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    inner = found.get("extra")
    return found | ({"extra": details_of(inner)} if isinstance(inner, str) else {})


def is_ours(log: Any, details: Mapping[str, Any], seen: frozenset[str], known: Numbered) -> bool:
    """Return whether a row of Airflow's log is about vmkeep.

    The type of a connection that was deleted is not known any more, so that each deletion counts.

    :param seen: the DAGs of ours that the user may see.
    """
    if log.event in POOL_EVENTS:
        return _names_one_of(log, _pools())
    if log.event in BACKFILL_EVENTS:
        return known.dag_of(log, details) in seen
    if log.event in ASSET_EVENTS and log.dag_id is None:
        return known.asset_of(details).startswith(_ASSETS)
    if log.dag_id == SEVERAL or log.event == "bulk_connections":
        return _names_one_of(log, (*seen, *_TYPES))
    if log.event in ("post_connection", "patch_connection"):
        return details.get("conn_type") in _TYPES
    return log.dag_id is not None or log.event.startswith("vmkeep_") or log.event == "delete_connection"


def _pools() -> tuple[str, ...]:
    """Return the names of the pools in which tasks of ours run."""
    return (*proxies(), Pool.DEFAULT_POOL_NAME)


def _names_one_of(log: Any, names: Iterable[str]) -> bool:
    """Return whether a row has one of some names in it: as a value of JSON, or as a word of a command."""
    text = log.extra or ""
    return any(f"{quote}{each}{quote}" in text for each in names for quote in "\"'")
