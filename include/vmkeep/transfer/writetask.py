"""The verb ``write`` of a child process: writes the stored content of one disk onto a disk."""

from __future__ import annotations

import time

from vmkeep.errors import ConflictError
from vmkeep.model.job import DiskWrite, WriteJob, from_plain
from vmkeep.transfer.childtask import ChildTask
from vmkeep.transfer.permitted import permitted
from vmkeep.transfer.target_disk import TargetDisk


def write(task: ChildTask) -> DiskWrite:
    """Write the disk of the request.

    :raises ConflictError: the restore point does not hold the disk.
    """
    job = from_plain(WriteJob, task.request.job)
    started = time.monotonic()
    with task.open_repository() as repository:
        point = repository.load_point(job.point)
        root = next((image.root for image in point.images if image.disk.key == job.device_key), None)
        if root is None:
            raise ConflictError(f"restore point {job.point} holds no disk {job.device_key}")
        name, title = f"disk-{job.device_key}", f"restore of {job.target_file}"
        with (
            repository.run(job.run).open_lease(name) as lease,
            permitted(repository, job.limits, run=job.run, lease=name, what=title) as settle,
        ):
            check = task.check_with(lease.check)
            disk = TargetDisk(task.access, repository, job, root, settle=settle, on_progress=task.report, check=check)
            done = disk.write()
    return DiskWrite(
        run=job.run,
        device_key=job.device_key,
        target_file=job.target_file,
        bytes_written=done.written,
        bytes_zeroed=done.zeroed,
        bytes_compared=done.compared,
        bytes_resumed=done.resumed,
        seconds=time.monotonic() - started,
        transport=done.transport,
        access=task.used(done.transport, job.transports),
        blocks=done.part.blocks,
        why_blocks=done.part.why,
    )
