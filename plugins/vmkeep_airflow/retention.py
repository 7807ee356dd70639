"""Reads the retention by which the maintenance of a repository goes: of its run, its connection, and the policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vmkeep.errors import NotFoundError
from vmkeep.retention import PolicyRules, make_rule, parse_rule, parse_zone
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.policies import policy_files

if TYPE_CHECKING:
    from vmkeep.flows.agreed_retention import Retention


def read_retention(repository_conn_id: str, keep: Mapping[str, Any] | None, time_zone: str | None) -> Retention:
    """Return the rules of a run: by policy, and for all other VMs that of the run, or else of the connection.

    :raises vmkeep.errors.UsageError: a rule or a time zone is not valid.
    """
    from vmkeep.flows.agreed_retention import Retention

    place = RepositoryHook(repository_conn_id).get_conn()
    return Retention(
        rule=make_rule(keep or {}) or (parse_rule(place.retention) if place.retention else None),
        zone=parse_zone(time_zone or place.time_zone),
        policies=_policies(),
    )


def is_for_once(keep: Mapping[str, Any] | None, time_zone: str | None) -> bool:
    """Return whether a run has rules of its own, that no later run goes by."""
    return make_rule(keep or {}) is not None or bool(time_zone)


def _policies() -> PolicyRules:
    """Return the retention of this Airflow's policies."""
    from vmkeep.flows.pruning import rules_of

    try:
        return rules_of(policy_files())
    except NotFoundError as error:
        return PolicyRules(missing=f"the policy files cannot be read ({error})")
