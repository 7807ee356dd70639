"""Base classes of all operators. They read the connections, and turn the engine's errors into Airflow's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from airflow.sdk import BaseOperator, Context

from vmkeep.errors import CancelledError
from vmkeep.model.fieldwords import in_params
from vmkeep.model.job import Progress
from vmkeep.model.site import Site
from vmkeep_airflow.failures import airflow_failures
from vmkeep_airflow.liveprogress import LiveTask, own_state
from vmkeep_airflow.logfields import with_fields
from vmkeep_airflow.progress import ProgressLog, describe, describe_share
from vmkeep_airflow.xcoms import handed

T = TypeVar("T")


class RepositoryOperator(BaseOperator):
    """An operator that works on one repository.

    :param repository_conn_id: Airflow connection to the repository. Templated.
    """

    template_fields: Sequence[str] = ("repository_conn_id",)

    def __init__(self, *, repository_conn_id: str = "vmkeep_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository_conn_id = repository_conn_id
        self.result: Any = None  # of the step, for the links of the task
        self.live: LiveTask | None = None  # while the step runs

    def execute(self, context: Context) -> Any:
        """Run :meth:`step`. An error of the engine becomes a retry or a failure, by its ``recovery``.

        :returns: the step's result, never ``None``, because a task without a result counts as marked by hand.
        """
        live = LiveTask(own_state(context), self.limit_rate)
        with with_fields(self), airflow_failures(context.get("ti")), live as self.live:
            self.result = self.step(context)
        return {} if self.result is None else self.result

    def step(self, context: Context) -> Any:
        """Do the work, and return plain data for XCom."""
        raise NotImplementedError

    def site(self) -> Site:
        """Read the connections. Work of this process follows the repository's rate limit from then on."""
        from vmkeep_airflow.site import repository_site

        return self._followed(repository_site(self.repository_conn_id))

    def _followed(self, site: Site) -> Site:
        def change(limit_rate: str | None) -> None:
            from vmkeep.flows.repositories import change_rate

            change_rate(site.repository, limit_rate)

        self.follow_limit(site, change)
        return site

    def follow_limit(self, site: Site, to_work: Callable[[str | None], None]) -> None:
        """Pass each change of the repository's rate limit on to the work of this task, instead of to this process."""
        if self.live is not None:
            self.live.pass_limit(site.limit_rate, to_work)

    def limit_rate(self) -> str | None:
        """Return the rate limit of the repository's connection as it is now; ``None``: it has none."""
        from vmkeep_airflow.hooks.repository import RepositoryHook

        return RepositoryHook(self.repository_conn_id).limit_rate()

    def lines(
        self, label: str, describe: Callable[[str, Progress], str] = describe, *, in_bytes: bool = True
    ) -> Callable[[Progress], None]:
        """Return a function that takes the work's progress: it logs a line now and then, and tells Airflow."""
        lines = ProgressLog(self.log, label, describe)

        def take(progress: Progress) -> None:
            lines(progress)
            if self.live is not None:
                self.live.take(label, progress, in_bytes=in_bytes)

        return take

    def starting(self, label: str, size: int) -> Callable[[Progress], None]:
        """Return :meth:`lines` for a disk, and tell Airflow of the disk at once.

        Its process tells nothing before the first blocks have passed, which takes long under a low rate limit.

        :param size: bytes of the disk.
        """
        take = self.lines(label)
        if self.live is not None:
            self.live.take(label, Progress(phase="starting", bytes_done=0, bytes_total=size), in_bytes=True)
        return take

    def handed(self, field: str, kind: type[T], *, by: str) -> T:
        """Return the value that an earlier task left for this one.

        :param field: the templated attribute that holds it.
        :param by: the task that leaves it.
        :raises AirflowFailException: the task left no value, or one that this version of vmkeep cannot read.
        """
        return handed(getattr(self, field), kind, by=by)

    def warn(self, warnings: Sequence[str]) -> None:
        """Log the engine's warnings."""
        for warning in warnings:
            self.log.warning("%s", in_params(warning))


class SiteOperator(RepositoryOperator):
    """An operator that works on one vCenter and one repository.

    :param vsphere_conn_id: Airflow connection to vCenter or ESXi. Templated.
    """

    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "vsphere_conn_id")

    def __init__(self, *, vsphere_conn_id: str = "vsphere_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vsphere_conn_id = vsphere_conn_id

    def site(self) -> Site:
        """Read both connections."""
        from vmkeep_airflow.site import make_site

        return self._followed(
            make_site(vsphere_conn_id=self.vsphere_conn_id, repository_conn_id=self.repository_conn_id)
        )


class UpkeepOperator(RepositoryOperator):
    """An operator that works in this process, maybe for hours, and may be stopped at any point."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stopped: threading.Event | None = None

    def follow(self, label: str) -> Callable[[Progress], None]:
        """Return a function that takes the engine's progress. It logs a line now and then, and stops a killed task."""
        self._stopped = stopped = threading.Event()
        lines = self.lines(label, describe_share, in_bytes=False)

        def take(progress: Progress) -> None:
            if stopped.is_set():
                raise CancelledError(f"{label} was told to stop; it can be started again")
            lines(progress)

        return take

    def on_kill(self) -> None:
        """Let the work end at its next step. The next run does the rest."""
        if self._stopped is not None:
            self._stopped.set()
