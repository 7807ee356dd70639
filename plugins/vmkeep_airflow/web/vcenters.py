"""Asks a vCenter for the restore wizard: places for a new VM, VMs, and the state of one that is written over."""

from __future__ import annotations

import logging

from airflow.models import Connection
from airflow.utils.session import create_session
from sqlalchemy import select

from vmkeep.errors import VmKeepError
from vmkeep.flows.choices import Machine, Places, list_machines, list_places
from vmkeep.flows.overwritten import overwritten_lines
from vmkeep.flows.restore_values import RestorePlan
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.site import make_site
from vmkeep_airflow.web.limits import within

log = logging.getLogger(__name__)


def find_vcenters() -> tuple[str, ...]:
    """Return the ids of the connections to vCenters and ESXi hosts, the default one first."""
    with create_session() as session:
        query = select(Connection.conn_id).where(Connection.conn_type == VsphereHook.conn_type)
        made = sorted(session.scalars(query.order_by(Connection.conn_id)))
    return tuple(dict.fromkeys((VsphereHook.default_conn_name, *made)))


def server_of(conn_id: str) -> str:
    """Return the address of a connection's server, with its port unless that is 443; empty: it cannot be told."""
    try:
        vcenter = VsphereHook(conn_id or VsphereHook.default_conn_name).get_conn()
    except VmKeepError as error:
        log.info("no address of connection %s is shown: %s", conn_id, error)
        return ""
    host = f"[{vcenter.host}]" if ":" in vcenter.host else vcenter.host
    return host if vcenter.port == 443 else f"{host}:{vcenter.port}"


def load_places(conn_id: str) -> Places:
    """Return all places of the server that a connection leads to.

    :raises UnreachableError: it gives no answer in time.
    :raises vmkeep.errors.UsageError: the connection is missing, or lacks a field.
    """
    vcenter = VsphereHook(conn_id).get_conn()
    return within(lambda: list_places(vcenter), f"the places of {vcenter.host} (connection {conn_id})")


def load_machines(conn_id: str) -> tuple[Machine, ...]:
    """Return all VMs of the server that a connection leads to, but templates.

    :raises UnreachableError: it gives no answer in time.
    :raises vmkeep.errors.UsageError: the connection is missing, or lacks a field.
    """
    vcenter = VsphereHook(conn_id).get_conn()
    return within(lambda: list_machines(vcenter), f"the VMs of {vcenter.host} (connection {conn_id})")


def load_overwritten(plan: RestorePlan, *, vsphere: str, repository: str) -> tuple[str, ...]:
    """Return lines about the VM that a plan writes over. Whatever cannot be read is said.

    :param vsphere: Airflow connection.
    :param repository: Airflow connection.
    """
    try:
        site = make_site(vsphere_conn_id=vsphere, repository_conn_id=repository)
        return within(lambda: overwritten_lines(site, plan), f"VM {plan.target_name}")
    except VmKeepError as error:
        return (f"its state cannot be read: {error}",)
