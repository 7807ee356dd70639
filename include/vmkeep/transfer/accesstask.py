"""The verb ``access`` of a child process: takes or ends the access holds on some VMs. It needs no repository."""

from __future__ import annotations

from vmkeep.errors import DeadlineError, TransferError, VmKeepError
from vmkeep.model.access import AccessDone
from vmkeep.model.diskaccess import HoldingAccess
from vmkeep.transfer.childtask import ChildTask
from vmkeep.transfer.protocol import parse_access_job


def change_access(task: ChildTask) -> AccessDone:
    """Take or end the access holds. A failure at one VM does not stop the others.

    :raises TransferError: the driver can take no access hold.
    :raises DeadlineError: the library hangs.
    """
    job = parse_access_job(task.request.job or {})
    if not isinstance(task.access, HoldingAccess):
        raise TransferError(f"the disk driver {task.request.driver} can take no access hold")
    problems = {}
    for vm in job.vms:
        task.stop.check()
        try:
            (task.access.prepare_access if job.prepare else task.access.end_access)(vm)
        except DeadlineError:
            raise  # because a library that hangs now would hang again
        except VmKeepError as error:
            problems[vm.vm.moref] = str(error)
    return AccessDone(problems=problems)
