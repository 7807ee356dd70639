"""The simulated vSphere site: its objects and its services, put together. Behaviours reach everything through it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmlab.api import vim

if TYPE_CHECKING:
    from vmlab.disks import DiskStore
    from vmlab.managed.access import Access
    from vmlab.managed.faults import FaultPlan
    from vmlab.managed.filters import Collectors
    from vmlab.managed.service_tickets import ServiceTickets
    from vmlab.managed.sessions import Sessions, Tickets
    from vmlab.managed.tasks import Tasks
    from vmlab.managed.world import World
    from vmlab.nfc import NfcSession
    from vmlab.soap import Certificate

ROOT_FOLDER = vim.Folder("group-d1")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnd:
    """Where a host itself can be reached, and how it is recognised."""

    port: int
    certificate: "Certificate"


@dataclass(slots=True, kw_only=True)
class Site:
    """Everything a behaviour may use. `folder` is the lab's directory; `datastores` lie in `folder/datastores`."""

    folder: Path
    world: "World"
    store: "DiskStore"
    access: "Access"
    sessions: "Sessions"
    tickets: "Tickets"
    service_tickets: "ServiceTickets"
    faults: "FaultPlan"
    collectors: "Collectors"
    instance_uuid: str
    language: str = "en"
    """Of messages and labels, see `vmlab.soap.languages`."""
    extents_per_query: int = 64
    """How many changed areas one QueryChangedDiskAreas answers at most."""
    bytes_per_query: int = 8 << 20
    """How much of a disk one QueryChangedDiskAreas covers at most; little, so that each disk takes several."""
    started: Any = None
    nfc_sessions: "Callable[[], list[NfcSession]]" = list
    """The disks that backup clients hold open now."""
    host_ends: dict[str, HostEnd] = field(default_factory=dict)
    """By host id; a host that was added later has none."""
    _tasks: "Tasks | None" = field(default=None)

    @property
    def tasks(self) -> "Tasks":
        """The task service."""
        if self._tasks is None:
            from vmlab.managed.tasks import Tasks

            self._tasks = Tasks(self)
        return self._tasks

    def open_disks(self, *, writing: bool = False) -> list[str]:
        """Datastore paths of the disks that backup clients hold open (only those they write to, if asked)."""
        return [session.ds_path for session in self.nfc_sessions() if not (writing and session.read_only)]

    def restart_vcenter(self) -> dict[str, int]:
        """Lose what a vCenter loses when it restarts, sessions and tasks; what its hosts are doing goes on."""
        return {"sessions": self.sessions.close_all(), "tasks": self.tasks.forget()}

    def add_companion(self, ref: Any) -> None:
        """Enter the browsers and managers that belong to a VM, host, cluster or datastore."""
        kinds: list[tuple[Any, str]] = []
        if isinstance(ref, (vim.VirtualMachine, vim.ComputeResource)):
            kinds.append((vim.EnvironmentBrowser, "envbrowser"))
        if isinstance(ref, (vim.HostSystem, vim.Datastore)):
            kinds.append((vim.host.DatastoreBrowser, "datastoreBrowser"))
        for kind, prefix in kinds:
            self.world.add(kind(f"{prefix}-{ref._moId}"), lasting=False)
        if isinstance(ref, vim.HostSystem):
            from vmlab.managed.managers import host_managers

            for manager in host_managers(ref).values():
                self.world.add(manager, lasting=False)
