"""Reads and writes claims: marks of a restore on its VM, kept as advanced settings of the VM until the restore ends.

A clean-up may destroy a VM that the run *made*. It never destroys a VM that was there before, whose mark only names the
run that is writing over it. If two runs mark a VM at once, vSphere's ``changeVersion`` lets only one succeed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from vmkeep.errors import ConflictError, StaleError, TransientError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all, read_each
from vmkeep.vsphere.protection import require_configuration
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.vmsettings import change_settings, values_by_key

MADE_BY = "vmkeep.run"
"""Setting with the key of the run that made the VM."""
WRITTEN_BY = "vmkeep.restoring"
"""Setting with the key of the run that writes over a VM which was there before."""
BEGAN = "vmkeep.began"
"""Setting with the time at which the run marked the VM, by vCenter's clock, in ISO format."""
REPOSITORY = "vmkeep.repository"
"""Setting with the id of the run's repository, because only that repository knows whether the run is alive."""
DRILL = "vmkeep.drill"
"""Setting of a VM that a drill has made: the id of the repository, a slash, and the drill's run. It stays until the
drill is cleaned up. Only VMs that carry it are removed then (:mod:`vmkeep.vsphere.drills`)."""
KEEP = "vmkeep.keep"
"""Setting of a VM that stays as it is if its restore fails, with the claim, so that the restore can be gone on with."""
INCOMPLETE = "vmkeep.incomplete"
"""Setting of a VM whose disks are partly written: the runs of the restores that did not finish, with blanks between."""
SETTINGS = (MADE_BY, WRITTEN_BY, BEGAN, REPOSITORY, DRILL, KEEP, INCOMPLETE)
_TRIES = 5
"""Number of attempts, because somebody may change the VM between reading its ``changeVersion`` and using it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmClaim:
    """The claim of a run on a VM: the mark that the run has put there."""

    run: str
    made: bool
    """The run made the VM; else the run writes over it."""
    began: datetime | None = None
    repository: str | None = None
    keep: bool = False
    """The VM stays as it is if the restore fails."""

    def is_of(self, run: str, repository: str | None) -> bool:
        """Return whether this is the mark of a run. Runs of two repositories may have one key, so both are compared.

        Marks of old programs name no repository; they count as being of any repository.
        """
        return self.run == run and (None in (self.repository, repository) or self.repository == repository)

    @property
    def settings(self) -> dict[str, str]:
        """The claim as advanced settings."""
        values = {MADE_BY if self.made else WRITTEN_BY: self.run}
        if self.began is not None:
            values[BEGAN] = self.began.isoformat()
        if self.repository is not None:
            values[REPOSITORY] = self.repository
        if self.keep:
            values[KEEP] = "yes"
        return values

    def age(self, now: datetime) -> timedelta:
        """Return the age of the mark; zero if the mark does not tell when it was made.

        The difference counts in both directions, so that a clock that was put back keeps no mark young for long.
        """
        return abs(now - self.began) if self.began is not None else timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedVm:
    """A VM that some run has marked."""

    vm: VmRef
    claim: VmClaim
    off: bool
    """The VM is powered off."""
    incomplete: str = ""
    """The runs that have written a part of the disks and did not finish, with blanks between; empty: there are none."""


def parse_claim(settings: Any) -> VmClaim | None:
    """Return the claim in a VM's advanced settings; ``None``: there is none."""
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
        keep=bool(found.get(KEEP)),
    )


def parse_incomplete(settings: Any) -> str:
    """Return the runs that have written a part of a VM's disks and did not finish; empty: there are none."""
    return values_by_key(settings).get(INCOMPLETE, "")


def claim_on(session: Session, moref: str) -> VmClaim | None:
    """Return the claim on a VM; ``None``: no restore works on it.

    :raises UnsupportedError: the VM's configuration cannot be read, so that a mark on it would not be seen.
    """
    with speaking(f"look at VM {moref}"):
        return parse_claim(_settings(session, moref)["config.extraConfig"])


def list_claimed(session: Session) -> tuple[ClaimedVm, ...]:
    """Return every VM that carries the mark of some run."""
    with speaking("look for VMs that restores have marked"):
        found = read_all(session, vim.VirtualMachine, "name", "runtime.powerState", "config.extraConfig")
    return tuple(
        ClaimedVm(
            vm=VmRef(moref=moref_of(vm), name=decode_name(values["name"] or "")),
            claim=claim,
            off=str(values["runtime.powerState"]) == "poweredOff",
            incomplete=parse_incomplete(values["config.extraConfig"]),
        )
        for vm, values in found
        if (claim := parse_claim(values["config.extraConfig"])) is not None
    )


def list_being_made(session: Session, morefs: Iterable[str]) -> Mapping[str, str]:
    """Return those of some VMs that a run is making, by managed object id, each with the run."""
    with speaking("look which VMs restores are making"):
        found = read_each(session, [session.vm(moref) for moref in morefs], "config.extraConfig")
    claims = ((moref_of(vm), parse_claim(values["config.extraConfig"])) for vm, values in found)
    return {moref: claim.run for moref, claim in claims if claim is not None and claim.made}


def hold(session: Session, moref: str, claim: VmClaim, *, version: str | None) -> bool:
    """Mark a VM that a run is about to write over. Return whether the mark was set.

    :param version: the VM's ``changeVersion`` when the caller looked at it. If it is another now, nothing is set.
    :raises ConflictError: another run has marked the VM.
    """
    what = f"mark VM {moref} for run {claim.run}"
    found, _ = _look(session, moref, what)
    if found is not None and not found.is_of(claim.run, claim.repository):
        raise ConflictError(f"VM {moref} is being restored by run {found.run}: wait for it, or stop it, then try again")
    return _change(session, moref, claim.settings, version=version, what=what)


def take_over(session: Session, moref: str, claim: VmClaim, *, of: str) -> None:
    """Mark a VM in place of a run that is over, whose mark came back as the VM was put back to a snapshot.

    :param of: key of the run that is over.
    :raises StaleError: a third run has marked the VM meanwhile.
    """
    what = f"mark VM {moref} for run {claim.run}"
    for _ in range(_TRIES):
        found, version = _look(session, moref, what)
        if found is not None and found.run not in (claim.run, of):
            raise StaleError(f"VM {moref} is being restored by run {found.run} by now: wait for it, then try again")
        if _change(session, moref, claim.settings, version=version, what=what):
            return
    raise TransientError(f"VM {moref} is being changed all the time, so that run {claim.run} cannot mark it")


def incomplete_on(session: Session, moref: str) -> str:
    """Return the runs that have written a part of a VM's disks and did not finish; empty: there are none.

    :raises UnsupportedError: the VM's configuration cannot be read.
    """
    with speaking(f"look at VM {moref}"):
        return parse_incomplete(_settings(session, moref)["config.extraConfig"])


def let_go(session: Session, moref: str, run: str, *, incomplete: str | None = None) -> bool:
    """Take a run's mark off a VM, so that no clean-up of that run touches it. Return whether the mark was there.

    :param incomplete: the runs that have written a part of the disks, for the setting that says so; ``None``: the
        setting stays as it is, because this run has changed nothing about that.
    :raises VSphereError: the mark is still there.
    """
    what = f"take the mark of run {run} off VM {moref}"
    for _ in range(_TRIES):
        found, version = _look(session, moref, what)
        if found is None or found.run != run:
            return False
        values = dict.fromkeys(found.settings, "") | ({} if incomplete is None else {INCOMPLETE: incomplete})
        if _change(session, moref, values, version=version, what=what):
            break
    left = claim_on(session, moref)
    if left is not None and left.run == run:
        raise VSphereError(
            f"{what}: it is still there, though vSphere reported no error; delete the advanced setting "
            f"{MADE_BY if left.made else WRITTEN_BY} by hand, or cleaning up after the run may destroy the VM"
        )
    return True


def _look(session: Session, moref: str, what: str) -> tuple[VmClaim | None, str | None]:
    """Return the claim on a VM, and the ``changeVersion`` at which it was read."""
    with speaking(what):
        values = _settings(session, moref)
    return parse_claim(values["config.extraConfig"]), values["config.changeVersion"]


def _settings(session: Session, moref: str) -> dict[str, Any]:
    values = read(session, session.vm(moref), "config.extraConfig", "config.changeVersion", *protection.PATHS)
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    return values


def _change(session: Session, moref: str, values: Mapping[str, str], *, version: str | None, what: str) -> bool:
    """Set advanced settings, unless somebody has changed the VM since ``version``. Return whether they were set."""
    try:
        change_settings(session, moref, values, what=what, version=version)
    except VSphereError as error:
        if error.fault == "ConcurrentAccess":
            return False
        raise
    return True
