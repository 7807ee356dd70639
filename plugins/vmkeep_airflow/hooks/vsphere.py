"""The connection type ``vsphere``: one vCenter or ESXi host, and the VDDK that reads its disks."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Final

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection

from vmkeep.model.address import parse_address
from vmkeep.model.limits import parse_limits
from vmkeep.model.site import VCenter, parse_drivers
from vmkeep_airflow.connectiontests import tell_test
from vmkeep_airflow.hooks.fields import extra, load_connection, required

if TYPE_CHECKING:
    from vmkeep.flows.doctor import Subject

_TEST_SECONDS: Final = 60.0


class VsphereHook(BaseHook):
    """Read a ``vsphere`` connection.

    :param vsphere_conn_id: Airflow connection to vCenter or ESXi.
    """

    conn_name_attr = "vsphere_conn_id"
    default_conn_name = "vsphere_default"
    conn_type = "vsphere"
    hook_name = "VMware vSphere"

    def __init__(self, vsphere_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.vsphere_conn_id = vsphere_conn_id

    def get_conn(self) -> VCenter:
        """Return the server's address and login, without contacting it."""
        connection = self._connection
        host, port = parse_address(
            required(connection, "host", label="host"),
            what=f"Airflow connection {self.vsphere_conn_id!r}: host",
            user="the field Login",
        )
        return VCenter(
            host=host,
            port=connection.port or port or 443,
            user=required(connection, "login", label="user"),
            password=required(connection, "password", label="password"),
            thumbprint=extra(connection, "thumbprint"),
            ca_file=extra(connection, "ca_file"),
        )

    @property
    def vddk(self) -> str | None:
        """VDDK's folder on this worker: the one that the connection names, else that of the worker's environment."""
        return extra(self._connection, "vddk") or os.environ.get("VMKEEP_VDDK") or None

    @property
    def disk_drivers(self) -> tuple[str, ...]:
        """The disk drivers to try: those that the connection names, else those of the worker's environment."""
        return parse_drivers(extra(self._connection, "disk_drivers") or os.environ.get("VMKEEP_DISK_DRIVERS"))

    @property
    def limits(self) -> str | None:
        """The limits of hosts and datastores, in the form of :func:`vmkeep.model.limits.parse_limits`."""
        return extra(self._connection, "limits")

    @cached_property
    def _connection(self) -> Connection:
        """Asked for once, because each question is a request to Airflow's API server, and every task has several."""
        return load_connection(self.vsphere_conn_id, conn_type=self.conn_type)

    def subject(self, *, proxy: bool) -> Subject:
        """Return the server as a subject of an examination.

        :param proxy: this machine copies disks.
        :raises UsageError: a field of the connection is missing or wrong.
        """
        from vmkeep.flows.doctor import vcenter_subject

        parse_limits(self.limits)
        return vcenter_subject(
            self.get_conn(), vddk=self.vddk, proxy=proxy, label=self.vsphere_conn_id, seconds=_TEST_SECONDS
        )

    def test_connection(self) -> tuple[bool, str]:
        """Say what is missing, for the button in Airflow's connection form: rights by name, and the rest."""
        from vmkeep.errors import VmKeepError

        try:
            return tell_test(self.subject(proxy=False))
        except VmKeepError as error:
            return False, str(error)
