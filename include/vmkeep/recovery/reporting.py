"""The report of a recovery: what became of each VM, how old its data is, and how long it took. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted_of

_STAY = ("it stays", "they stay")


class VmState(StrEnum):
    """The state of a VM in a recovery."""

    WAITING = "waiting"
    """Its restore has not begun."""
    BEGUN = "begun"
    """Its restore was begun, and has not ended."""
    RESTORED = "restored"
    """It is restored whole, and its probes have not all succeeded yet."""
    HEALTHY = "healthy"
    """It is restored, and all probes have succeeded."""
    OFF = "off"
    """It is restored and stays off, as it should. It was never started, so that nothing is proved about its start."""
    UNHEALTHY = "unhealthy"
    """It is restored, and a probe has not succeeded in time, or it is off and should run."""
    FAILED = "failed"
    """It is not restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The outcome of one probe: evidence of the VM's health, or of its lack."""

    probe: str
    """The probe in words, e.g. ``tcp port 443``."""
    succeeded: bool
    at: datetime
    told: str
    """The answer, or the last error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmOutcome:
    """The outcome of one VM, as the run keeps it."""

    group: str
    vm_key: str
    vm_name: str
    new_name: str
    point: str
    taken_at: datetime
    state: VmState = VmState.WAITING
    tries: int = 0
    moref: str | None = None
    """Managed object id of the restored VM."""
    should_run: bool = False
    """The VM is switched on after its restore, and probed."""
    began: datetime | None = None
    restored_at: datetime | None = None
    healthy_at: datetime | None = None
    bytes_written: int = 0
    probes: tuple[ProbeResult, ...] = ()
    picture: str = ""
    """Name of the picture of its console among the notes of the run; empty: none was taken."""
    error: str = ""
    """The reason, if it failed or is not healthy."""
    warnings: tuple[str, ...] = ()
    stepped_back: tuple[str, ...] = ()
    """A sentence for each newer point that turned out damaged, so that an older one was restored."""
    removed: bool = False
    """The drill is over, and its VM is removed."""

    @property
    def succeeded(self) -> bool:
        """Whether the VM is restored and healthy, or stays off as it should."""
        return self.state in (VmState.HEALTHY, VmState.OFF)

    @property
    def ready_at(self) -> datetime | None:
        """The time from which on the VM was as it should be; ``None``: it is not."""
        return self.restored_at if self.state is VmState.OFF else self.healthy_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """The report of a run of a plan."""

    run: str
    plan: str
    description: str
    drill: bool
    began: datetime
    ended: datetime | None
    """``None``: the run was interrupted, and can go on."""
    lost_at: datetime
    """The time of the disaster, from which the age of the data counts."""
    vcenter: str
    """The server that the VMs were restored to."""
    vms: tuple[VmOutcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups, in their order."""
        return tuple(dict.fromkeys(vm.group for vm in self.vms))

    @property
    def failed(self) -> tuple[VmOutcome, ...]:
        """The VMs that are not restored and healthy."""
        return tuple(vm for vm in self.vms if not vm.succeeded)

    @property
    def counts(self) -> dict[str, int]:
        """The number of VMs that are healthy, that are restored and stay off as they should, and of all others."""
        healthy = sum(vm.state is VmState.HEALTHY for vm in self.vms)
        off = sum(vm.state is VmState.OFF for vm in self.vms)
        return {"healthy": healthy, "off": off, "failed": len(self.vms) - healthy - off}

    def of(self, group: str) -> tuple[VmOutcome, ...]:
        """Return the VMs of a group."""
        return tuple(vm for vm in self.vms if vm.group == group)

    def result(self, vms: Sequence[VmOutcome]) -> str:
        """Return how many of some VMs are healthy, and how many are restored and were never started."""
        healthy = counted_of(sum(vm.state is VmState.HEALTHY for vm in vms), len(vms), "VM") + " healthy"
        off = sum(vm.state is VmState.OFF for vm in vms)
        return f"{healthy}, {off} restored and not probed, because {_STAY[off > 1]} off as planned" if off else healthy

    def rpo(self, vms: Iterable[VmOutcome]) -> float | None:
        """Return the age in seconds of the oldest data among VMs at the disaster; ``None``: there are no VMs."""
        return max((max(0.0, (self.lost_at - vm.taken_at).total_seconds()) for vm in vms), default=None)

    def rto(self, vms: Iterable[VmOutcome]) -> float | None:
        """Return the seconds from the run's beginning until the last of some VMs was as it should be.

        ``None``: one of them is not, so that the time is not reached.
        """
        ends = [vm.ready_at for vm in vms]
        reached = [end for end in ends if end is not None]
        if not reached or len(reached) < len(ends):
            return None
        return max((end - self.began).total_seconds() for end in reached)
