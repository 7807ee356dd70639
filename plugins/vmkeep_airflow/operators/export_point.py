"""Exports a restore point as images of its disks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.errors import UsageError
from vmkeep.model.exports import ExportedPoint, ExportRequest
from vmkeep.model.job import from_plain
from vmkeep.model.wording import size
from vmkeep_airflow.dagruns import clears_of, own_dag_run
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import RepositoryOperator

if TYPE_CHECKING:
    from vmkeep.flows.stopping import Stop


class ExportPointOperator(RepositoryOperator):
    """Write images of a point's disks into a folder of the proxy or to S3, read them back, and publish them.

    Safe to retry: nothing counts before the export's manifest, which is written last. A retry removes what a dead try
    has left and starts again. If that try had published the export already, the retry knows it by the run key in its
    manifest, and is done.

    :param request: the params of an ``export_point`` run: fields of an ``ExportRequest``. Templated.
    :returns: point, VM, format, place, manifest, and the numbers of disks, files, parts left behind, bytes and seconds,
        and the warnings.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Export the point, and follow the progress of each disk."""
        from vmkeep.flows import exports
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep.flows.stopping import Stop

        asked = request_from(self.request)
        if not asked.out.startswith(("/", "s3://")):
            raise UsageError(f"out: {asked.out!r} would be a folder below that of the worker: write its whole path")
        # A person who clears a run that replaces its export wants it written anew.
        run = own_dag_run(context["ti"]).run_key(clears_of(context) if asked.overwrite else 0)
        self._stop = Stop()
        started = time.monotonic()
        site = self.site()
        with open_site_repository(site) as repository:
            exported = exports.export(
                repository,
                asked,
                on_progress=self.lines,
                tell=lambda warning: self.warn([warning]),
                check=self._stop.check,
                run=run,
                transfers=site.limits.transfers,
                aws=site.aws,
            )
        for disk in exported.disks:
            self.log.info("%s: %s, %s of data, %s read back", disk.label, disk.files[0].name,
                          size(disk.bytes_written), size(disk.bytes_compared))  # fmt: skip
        return summary(exported, seconds=time.monotonic() - started)

    def on_kill(self) -> None:
        """Stop the writing. Nothing of the export stays."""
        if self._stop is not None:
            self._stop.ask()


def request_from(params: Mapping[str, Any]) -> ExportRequest:
    """Return a request made of a run's params. Empty fields are left out, and a disk may be named by its number."""
    given = {name: value for name, value in params.items() if value not in ("", None, [])}
    if "disks" in given:
        given["disks"] = [str(disk) for disk in given["disks"]]
    return from_plain(ExportRequest, given)


def summary(exported: ExportedPoint, *, seconds: float) -> dict[str, Any]:
    """Return the numbers of an export. Its files are in its manifest, because there can be thousands of them."""
    files = [*(file for disk in exported.disks for file in disk.files), *exported.beside]
    return {
        "point": exported.point,
        "vm": exported.vm,
        "format": exported.format.value,
        "place": exported.place,
        "manifest": exported.manifest,
        "disks": len(exported.disks),
        "files": len(files),
        "left_out": len(exported.left_out),
        "notes": exported.notes if exported.describes else None,
        "warnings": list(exported.warnings),
        "bytes_written": sum(disk.bytes_written for disk in exported.disks),
        "bytes_compared": sum(disk.bytes_compared for disk in exported.disks),
        "duration_seconds": round(seconds, 3),
    }
