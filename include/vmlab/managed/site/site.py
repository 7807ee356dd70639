"""The simulated vSphere site: its objects and its services, put together. Behaviours reach everything through it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmlab.disks import DiskStore
from vmlab.managed.site.access import Access
from vmlab.managed.site.fault_plan import FaultPlan
from vmlab.managed.site.sessions import Sessions
from vmlab.managed.site.tasks import Tasks
from vmlab.managed.site.tickets import CloneTickets, ServiceTickets
from vmlab.managed.site.watches import Collectors
from vmlab.managed.world import World
from vmlab.nfc import NfcSession
from vmlab.soap import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnd:
    """Where a host itself can be reached, and how it is recognised."""

    port: int
    certificate: Certificate


@dataclass(slots=True, kw_only=True)
class Site:
    """Everything a behaviour may use. `folder` is the lab's directory; `datastores` lie in `folder/datastores`."""

    folder: Path
    world: World
    store: DiskStore
    access: Access
    sessions: Sessions
    clone_tickets: CloneTickets
    service_tickets: ServiceTickets
    faults: FaultPlan
    collectors: Collectors
    tasks: Tasks
    instance_uuid: str
    language: str = "en"
    """Of messages and labels, see `vmlab.soap.languages`."""
    extents_per_query: int = 64
    """How many changed areas one QueryChangedDiskAreas answers at most."""
    bytes_per_query: int = 8 << 20
    """How much of a disk one QueryChangedDiskAreas covers at most; little, so that each disk takes several."""
    started: Any = None
    nfc_sessions: Callable[[], list[NfcSession]] = list
    """The disks that backup clients hold open now."""
    host_ends: dict[str, HostEnd] = field(default_factory=dict)
    """By host id; a host that was added later has none."""

    def open_disks(self, *, writing: bool = False) -> list[str]:
        """Datastore paths of the disks that backup clients hold open (only those they write to, if asked)."""
        return [session.ds_path for session in self.nfc_sessions() if not (writing and session.read_only)]

    def restart_vcenter(self) -> dict[str, int]:
        """Lose what a vCenter loses when it restarts, sessions and tasks; what its hosts are doing goes on."""
        return {"sessions": self.sessions.close_all(), "tasks": self.tasks.forget()}
