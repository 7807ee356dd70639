"""Writes one disk of a restore point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.model.job import DiskWrite, WriteJob, to_plain
from vmkeep.model.wording import size
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator

if TYPE_CHECKING:
    from vmkeep.flows.restore import RunningTransfer


class WriteDiskOperator(SiteOperator):
    """Write one disk of a restore point onto a disk of a VM, in a child process of this worker.

    It is safe to retry. A retry goes on where the last try stood, or writes the whole disk at any doubt. After the end
    of the restore it changes nothing, and fails.

    :param job: a ``WriteJob`` as a dict, from ``PlanWritesOperator``. Templated.
    :returns: the ``DiskWrite`` as a dict.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "job")

    def __init__(self, *, job: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self._running: RunningTransfer[DiskWrite] | None = None

    def step(self, context: Context) -> Any:
        """Run the transfer, and follow its progress."""
        from vmkeep.flows import restore

        job = self.handed("job", WriteJob, by="plan_writes")
        site = self.site()
        with restore.write_disk(site, job, on_progress=self.starting(job.name, job.capacity)) as self._running:
            self.follow_limit(site, self._running.change_rate)
            write = self._running.wait()
        rate = write.bytes_written / write.seconds if write.seconds else 0.0
        self.log.info(
            "%s: %s written, %s by earlier tries, %s zeroed, %.1f s, %s/s over %s",
            f"{job.name} ({job.target_file})" if job.label else job.name,
            size(write.bytes_written),
            size(write.bytes_resumed),
            size(write.bytes_zeroed),
            write.seconds,
            size(rate),
            write.transport,
        )
        return to_plain(write)

    def on_kill(self) -> None:
        """Stop the child process."""
        if self._running is not None:
            self._running.cancel()
