"""Copies one disk into the repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.model.job import DiskCopy, DiskJob, Progress, to_plain
from vmkeep.model.wording import size
from vmkeep_airflow.cursor import TaskCursor
from vmkeep_airflow.operators.ending import EndingOperator

if TYPE_CHECKING:
    from vmkeep.flows.backup import RunningTransfer


class CopyDiskOperator(EndingOperator):
    """Copy one disk of a VM snapshot into the repository, in a child process of this worker.

    It is safe to retry, because stored blocks are found again, and a retry continues from the last try's cursor. This
    operator seals nothing; ``CatalogOperator`` does.

    :param job: a ``DiskJob`` as a dict, from ``PlanDisksOperator``. Templated.
    :returns: the ``DiskCopy`` as a dict, with map root, bytes read and stored, and snapshot.
    """

    template_fields: Sequence[str] = (*EndingOperator.template_fields, "job")

    def __init__(self, *, job: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self._running: RunningTransfer[DiskCopy] | None = None

    def step(self, context: Context) -> Any:
        """Run the copy, and follow its progress."""
        from vmkeep.flows import backup

        job = self.handed("job", DiskJob, by="plan_disks")
        cursor = TaskCursor(context, snapshot=job.snapshot)
        lines = self.starting(job.disk.label, job.disk.capacity)

        def follow(progress: Progress) -> None:
            cursor(progress)
            lines(progress)

        start_at = cursor.load()
        if start_at is not None:
            self.log.info("%s: goes on at %s", job.disk.label, size(start_at.offset))
        site = self.site()
        again = context["ti"].try_number > 1
        copying = backup.copy_disk(site, job, cursor=start_at, on_progress=follow, again=again)
        with cursor, copying as self._running, self.stopped_in_time(self._running.cancel):
            self.follow_limit(site, self._running.change_rate)
            copy = self._running.wait()
        rate = copy.bytes_read / copy.seconds if copy.seconds else 0.0
        self.log.info(
            "%s: %s read, %s stored, %.1f s, %s/s over %s, %.1f CPU s",
            job.disk.label,
            size(copy.bytes_read),
            size(copy.bytes_stored),
            copy.seconds,
            size(rate),
            copy.transport,
            copy.cpu_seconds or 0.0,
        )
        return to_plain(copy)

    def on_kill(self) -> None:
        """Stop the child process, which releases its lease, so that the clean-up need not wait."""
        if self._running is not None:
            self._running.cancel()
