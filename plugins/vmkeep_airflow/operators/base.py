"""What every operator of this package shares: two connections, and one mapping of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from vmkeep.model.site import Site
from vmkeep_airflow.failures import airflow_failures


class SiteOperator(BaseOperator):
    """An operator that works on one vCenter and one repository.

    :param vsphere_conn_id: Airflow connection to vCenter or ESXi. Templated.
    :param repository_conn_id: Airflow connection to the repository. Templated.
    """

    template_fields: Sequence[str] = ("vsphere_conn_id", "repository_conn_id")

    def __init__(
        self, *, vsphere_conn_id: str = "vsphere_default", repository_conn_id: str = "vmkeep_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vsphere_conn_id = vsphere_conn_id
        self.repository_conn_id = repository_conn_id

    def execute(self, context: Context) -> Any:
        """Run :meth:`step`; an engine's error becomes a retry or a failure, by its ``recovery``."""
        with airflow_failures():
            return self.step(context)

    def step(self, context: Context) -> Any:
        """Do the work and return plain data for XCom."""
        raise NotImplementedError

    def site(self) -> Site:
        """Read both connections."""
        from vmkeep_airflow.site import make_site

        return make_site(vsphere_conn_id=self.vsphere_conn_id, repository_conn_id=self.repository_conn_id)

    def warn(self, warnings: Sequence[str]) -> None:
        """Write the engine's warnings into the task's log."""
        for warning in warnings:
            self.log.warning("%s", warning)
