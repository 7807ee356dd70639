"""The mark that a restore leaves on the VM it works on, as an advanced setting of the VM, until it has ended.

A VM that the run *made* may be destroyed by whoever cleans up after the run; a VM that was there before never is: its
mark only says which run is writing over it. vSphere's ``changeVersion`` decides between two that mark at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from vmkeep.errors import ConflictError, VSphereError
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.protection import require_configuration
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

MADE_BY = "vmkeep.run"
"""Holds the key of the run which made a VM."""
WRITTEN_BY = "vmkeep.restoring"
"""Holds the key of the run that writes over a VM which was there before."""
BEGAN = "vmkeep.began"
"""The time at which the run marked the VM, by vCenter's own clock, in ISO format."""
REPOSITORY = "vmkeep.repository"
"""The repository that the run restores from, by its id: only there is written down whether the run is alive."""
SETTINGS = (MADE_BY, WRITTEN_BY, BEGAN, REPOSITORY)
_SECONDS = 300.0
_TRIES = 5
"""Somebody else may change the VM between reading its ``changeVersion`` and using it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmClaim:
    """The mark of the run that works on a VM."""

    run: str
    made: bool
    """The run made the VM."""
    began: datetime | None = None
    repository: str | None = None

    def is_of(self, run: str, repository: str | None) -> bool:
        """Whether that run has made it: runs of two repositories may have one key. Marks of old programs tell none."""
        return self.run == run and (None in (self.repository, repository) or self.repository == repository)

    @property
    def settings(self) -> dict[str, str]:
        """The advanced settings that say so."""
        values = {MADE_BY if self.made else WRITTEN_BY: self.run}
        if self.began is not None:
            values[BEGAN] = self.began.isoformat()
        if self.repository is not None:
            values[REPOSITORY] = self.repository
        return values

    def age(self, now: datetime) -> timedelta:
        """Return how long the VM carries the mark; nothing where the mark does not tell."""
        return now - self.began if self.began is not None else timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedVm:
    """A VM that some run has marked."""

    vm: VmRef
    mark: VmClaim
    off: bool


def parse_mark(settings: Any) -> VmClaim | None:
    """Return the mark among a VM's advanced settings."""
    found = values_by_key(settings)
    run = found.get(MADE_BY) or found.get(WRITTEN_BY)
    if not run:
        return None
    began = None
    with contextlib.suppress(ValueError):
        began = datetime.fromisoformat(found.get(BEGAN, ""))
    return VmClaim(
        run=run,
        made=bool(found.get(MADE_BY)),
        began=began if began and began.tzinfo else None,
        repository=found.get(REPOSITORY) or None,
    )


def values_by_key(settings: Any) -> dict[str, str]:
    """Return a VM's advanced settings by their keys in lower case, because vSphere compares keys without case.

    Of a setting that is listed twice the last one counts: servers may add instead of replacing.
    """
    return {str(setting.key).lower(): str(setting.value) for setting in settings or ()}


def options_for(values: Mapping[str, str]) -> list[Any]:
    """Return advanced settings as vSphere takes them; an empty value is how it is told to forget one."""
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def claim_on(session: Session, moref: str) -> VmClaim | None:
    """Return which run works on a VM.

    :raises UnsupportedError: its configuration cannot be read, so that a mark on it would not be seen.
    """
    with speaking(f"look at VM {moref}"):
        return parse_mark(_settings(session, moref)["config.extraConfig"])


def list_claimed(session: Session) -> tuple[ClaimedVm, ...]:
    """Return every VM that some run has marked and not let go."""
    with speaking("look for VMs that restores have marked"):
        found = read_all(session, vim.VirtualMachine, "name", "runtime.powerState", "config.extraConfig")
    return tuple(
        ClaimedVm(
            vm=VmRef(moref=moref_of(vm), name=decode_name(values["name"] or "")),
            mark=mark,
            off=str(values["runtime.powerState"]) == "poweredOff",
        )
        for vm, values in found
        if (mark := parse_mark(values["config.extraConfig"])) is not None
    )


def hold(session: Session, moref: str, mark: VmClaim, *, version: str | None) -> bool:
    """Mark a VM that a run is about to write over; return whether its configuration is still what the caller saw.

    :param version: the VM's ``changeVersion`` when the caller looked at it. If it is another now, nothing is changed.
    :raises ConflictError: another run has marked it.
    """
    what = f"mark VM {moref} for run {mark.run}"
    found, _ = _look(session, moref, what)
    if found is not None and not found.is_of(mark.run, mark.repository):
        raise ConflictError(f"VM {moref} is being restored by run {found.run}: wait for it, or stop it, then try again")
    return _change(session, moref, mark.settings, version=version, what=what)


def let_go(session: Session, moref: str, run: str) -> bool:
    """Take a run's mark off a VM: from here on no clean-up of that run touches it. Return whether it was there.

    :raises VSphereError: the mark is still there.
    """
    what = f"take the mark of run {run} off VM {moref}"
    for _ in range(_TRIES):
        found, version = _look(session, moref, what)
        if found is None or found.run != run:
            return False
        if _change(session, moref, dict.fromkeys(found.settings, ""), version=version, what=what):
            break
    left = claim_on(session, moref)
    if left is not None and left.run == run:
        raise VSphereError(
            f"{what}: it is still there, though vSphere reported no error; delete the advanced setting "
            f"{MADE_BY if left.made else WRITTEN_BY} by hand, or cleaning up after the run may destroy the VM"
        )
    return True


def _look(session: Session, moref: str, what: str) -> tuple[VmClaim | None, str | None]:
    """Return a VM's mark, and the ``changeVersion`` it was read at."""
    with speaking(what):
        values = _settings(session, moref)
    return parse_mark(values["config.extraConfig"]), values["config.changeVersion"]


def _settings(session: Session, moref: str) -> dict[str, Any]:
    values = read(session, session.vm(moref), "config.extraConfig", "config.changeVersion", *protection.PATHS)
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    return values


def _change(session: Session, moref: str, values: Mapping[str, str], *, version: str | None, what: str) -> bool:
    """Set advanced settings; return whether nobody else had changed the VM since ``version``."""
    spec = vim.vm.ConfigSpec(extraConfig=options_for(values), changeVersion=version)
    try:
        with speaking(what):
            run_task(
                session,
                lambda: session.vm(moref).ReconfigVM_Task(spec),
                what=what,
                timeout=_SECONDS,
                look=lambda: True if _are_set(session, moref, values) else None,
            )
    except VSphereError as error:
        if error.fault == "ConcurrentAccess":
            return False
        raise
    return True


def _are_set(session: Session, moref: str, values: Mapping[str, str]) -> bool:
    """Return whether a VM has these advanced settings; an empty value stands for none."""
    now = values_by_key(read(session, session.vm(moref), "config.extraConfig")["config.extraConfig"])
    return all(now.get(key, "") == value for key, value in values.items())
