"""Switches VMs on and off, renews generation ids, and destroys the VMs that a run made and did not finish."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vmkeep.errors import (
    ConflictError,
    DeadlineError,
    NotFoundError,
    TransientError,
    UnreachableError,
    VSphereError,
)
from vmkeep.vsphere.advancedsettings import GENERATION
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.claims import claim_on, list_claimed
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import await_sight, run_task
from vmkeep.vsphere.vmsettings import options_for

log = logging.getLogger(__name__)

POWER_SECONDS = 300.0
SUSPEND_SECONDS = 1800.0
"""Seconds to suspend a VM, because its memory is written to its datastore."""
UNHEARD_SECONDS = 10.0
"""Seconds to look for the work of a task whose start was not answered."""


def power_state(session: Session, moref: str) -> PowerState:
    """Return whether a VM is on, off or suspended."""
    with speaking(f"look at the power of VM {moref}"):
        return PowerState(str(read(session, session.vm(moref), "runtime.powerState")["runtime.powerState"]))


def power_on(session: Session, moref: str, *, timeout: float = POWER_SECONDS) -> bool:
    """Switch a VM on, or resume it. Return whether it was not running before. The guest is not waited for.

    :raises DeadlineError: the VM is not on in time. If vSphere waits for an answer, the message has the question.
    """
    return _switch(session, moref, PowerState.ON, lambda: session.vm(moref).PowerOnVM_Task(None), timeout)


def power_off(session: Session, moref: str) -> bool:
    """Switch a VM off without asking the guest. Return whether it was not off before."""
    return _switch(session, moref, PowerState.OFF, lambda: session.vm(moref).PowerOffVM_Task(), POWER_SECONDS)


def suspend(session: Session, moref: str) -> bool:
    """Suspend a VM. Return whether it was not suspended before.

    :raises VSphereError: the VM is off.
    """
    return _switch(session, moref, PowerState.SUSPENDED, lambda: session.vm(moref).SuspendVM_Task(), SUSPEND_SECONDS)


def mark_as_template(session: Session, moref: str) -> None:
    """Make a template of a VM that is off. A VM that is a template already stays one."""
    with speaking(f"make VM {moref} a template"):
        managed = session.vm(moref)
        if not _is_template(session, managed):
            try:
                managed.MarkAsTemplate()
            except (TransientError, UnreachableError):  # the reply may be lost though the work was done
                if not _is_template(session, managed):
                    raise


def _is_template(session: Session, managed: Any) -> bool:
    return bool(read(session, managed, "config.template")["config.template"])


def renew_generation(session: Session, moref: str) -> bool:
    """Remove the generation id of a VM that is off, so that it gets a new one at power-on. Return whether it is gone.

    A guest that finds another generation id knows that it went back in time. A Windows domain controller then stops
    using its old sequence numbers, which other controllers have already seen.
    """
    what = f"take the generation id off VM {moref}"
    keys = _generation(session, moref, what)
    if keys:
        spec = vim.vm.ConfigSpec(extraConfig=options_for(dict.fromkeys(keys, "")))
        with speaking(what):
            run_task(
                session,
                lambda: session.vm(moref).ReconfigVM_Task(spec),
                what=what,
                timeout=POWER_SECONDS,
                look=lambda: None if _generation(session, moref, what) else True,
            )
        keys = _generation(session, moref, what)
    return not keys


def _generation(session: Session, moref: str, what: str) -> list[str]:
    """Return the keys, as the VM spells them, of the settings that hold its generation id."""
    wanted = {key.lower() for key in GENERATION}
    with speaking(what):
        settings = read(session, session.vm(moref), "config.extraConfig")["config.extraConfig"]
    return [str(setting.key) for setting in settings or () if setting.key.lower() in wanted and setting.value]


def destroy_claimed(session: Session, run: str, *, repository: str | None = None) -> int:
    """Destroy the VMs that a run made and did not finish, with their disks. Return the number of VMs.

    Only VMs that are off and carry exactly this run's mark are destroyed, and never any other VM.

    :param repository: id of the run's repository, because runs of two repositories may have one key.
    """
    left = [
        found.vm.moref
        for found in list_claimed(session)
        if found.off and found.claim.made and found.claim.is_of(run, repository)
    ]
    destroyed = 0
    for moref in left:
        with suppress(NotFoundError):  # another process has destroyed it meanwhile
            destroy(session, moref, run=run, repository=repository)
            destroyed += 1
    return destroyed


def destroy(session: Session, moref: str, *, run: str, repository: str | None = None, unfinished: bool = True) -> None:
    """Destroy one VM that ``run`` made and did not finish, with its disks.

    :param unfinished: the VM goes because of a failure; else it has only served its time.
    :raises ConflictError: the VM does not carry the run's mark. Nothing was done.
    :raises TransientError: a writer still holds one of its disks, as a writer does for a while after it was killed.
    """
    claim = claim_on(session, moref)
    if claim is None or not claim.made or not claim.is_of(run, repository):
        found = claim.run if claim is not None else "none"
        raise ConflictError(f"VM {moref} is not an unfinished VM of run {run} (its mark: {found}): not destroyed")
    what = f"destroy VM {moref}, {'unfinished' if unfinished else 'no longer needed'}, of run {run}"
    log.log(logging.WARNING if unfinished else logging.INFO, "%s", what)
    try:
        with speaking(what):
            run_task(
                session,
                session.vm(moref).Destroy_Task,
                what=what,
                timeout=POWER_SECONDS,
                look=lambda: None if is_there(session, moref) else True,
            )
    except VSphereError as error:
        if error.fault == "FileLocked":
            raise TransientError(f"{error}; the process that writes to it has to end first, then try again") from None
        raise


def _switch(session: Session, moref: str, wanted: PowerState, start: Callable[[], Any], timeout: float) -> bool:
    if power_state(session, moref) is wanted:
        return False
    what = f"bring VM {moref} to {wanted}"

    def there() -> bool | None:
        return True if power_state(session, moref) is wanted else None

    try:
        with speaking(what):
            run_task(
                session,
                start,
                what=what,
                timeout=timeout,
                look=there,
            )
    except DeadlineError as error:
        question = _question(session, moref)
        if question:
            raise DeadlineError(waiting_for=f"{error.waiting_for}; vSphere asks: {question}", seconds=timeout) from None
        raise
    except VSphereError:
        if there() is None:  # else another client has switched it
            raise
    except (TransientError, UnreachableError):
        # Because only the reply may be lost, and the task is still at work.
        if await_sight(there, time.monotonic() + UNHEARD_SECONDS) is None:
            raise
    return True


def is_there(session: Session, moref: str) -> bool:
    """Return whether vSphere knows a VM, whatever the user may read of it."""
    try:
        power_state(session, moref)
    except NotFoundError:
        return False
    return True


def _question(session: Session, moref: str) -> str | None:
    try:
        question = read(session, session.vm(moref), "runtime.question")["runtime.question"]
    except vmodl.MethodFault:
        return None
    return " ".join(str(question.text).split()) if question is not None else None
