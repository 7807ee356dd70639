"""Tells what a try to write a disk may rely on: that it is still as new, and that it holds what earlier tries wrote.

Both hold only while nobody has started the VM since the run marked it. A guest that ran may have written anywhere.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from vmkeep.errors import UnsupportedError
from vmkeep.model.job import WriteJob
from vmkeep.vsphere import disturbances
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def as_it_stands(session: Session, job: WriteJob, vm: VmDescription) -> WriteJob:
    """Return a job as it holds now: going on with earlier tries, or with every byte written, zeros too."""
    why = _doubt(session, vm)
    if why is None:
        return replace(job, resumes=True)
    log.warning("%s: every byte is written, because %s", job.target_file, why)
    return replace(job, resumes=False, fresh=False)


def _doubt(session: Session, vm: VmDescription) -> str | None:
    """Return the reason why the VM's disks may hold anything; ``None``: the run alone has written to them."""
    if vm.claim is None or vm.claim.began is None:
        return "the mark on the VM does not tell its time"
    try:
        found = disturbances.find_disturbance(session, vm.moref, since=vm.claim.began)
    except UnsupportedError:
        return f"{session.host} keeps no events that would tell whether the VM stayed off"
    return f"the VM did not stay off ({found})" if found is not None else None
