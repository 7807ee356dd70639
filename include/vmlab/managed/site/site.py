"""The simulated vSphere site: its objects and its services. Behaviours reach everything through it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmlab.disks import DiskStore
from vmlab.managed.site.access import Access
from vmlab.managed.site.fault_plan import FaultPlan
from vmlab.managed.site.product import Product
from vmlab.managed.site.scripted_guests import Guests
from vmlab.managed.site.sessions import Sessions
from vmlab.managed.site.tasks import Tasks
from vmlab.managed.site.tickets import CloneTickets, ServiceTickets
from vmlab.managed.site.watches import Collectors
from vmlab.managed.world import World
from vmlab.nfc import NfcSession
from vmlab.soap import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnd:
    """The port of a host's own service, and the certificate that it shows."""

    port: int
    certificate: Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The configuration of a host as one file, and the path under which the host gives it."""

    path: str
    content: bytes


@dataclass(slots=True, kw_only=True)
class Site:
    """Everything that a behaviour may use. `folder` is the lab's directory; datastores lie in `folder/datastores`."""

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
    product: Product = field(default_factory=Product)
    language: str = "en"
    """The language of messages and labels; `vmlab.soap` lists them."""
    extents_per_query: int = 64
    """The most changed areas that one QueryChangedDiskAreas answers."""
    bytes_per_query: int = 8 << 20
    """The most bytes of a disk that one QueryChangedDiskAreas covers. Few, so that every disk takes several calls."""
    started: Any = None
    nfc_sessions: Callable[[], list[NfcSession]] = list
    """Returns the disks that backup clients hold open now."""
    host_ends: dict[str, HostEnd] = field(default_factory=dict)
    """The end of each host, by host id. A host that was added later has none."""

    bundles: dict[str, Bundle] = field(default_factory=dict)
    """The configuration bundle that each host has made last, by host id."""
    downloads_need_tickets: bool = True
    """A host gives its bundle for a ticket only; `False`: to everybody who knows the URL."""
    guests: Guests = field(default_factory=Guests)
    automation_sessions: Sessions = field(default_factory=lambda: Sessions(300.0))
    """Those of the Automation API, which are not those of SOAP."""
    has_new_automation: bool = True
    """The Automation API speaks `/api`; a vCenter before 7.0 Update 2 knows only `/rest`."""

    def open_disks(self, *, writing: bool = False) -> list[str]:
        """Return the datastore paths of the disks that backup clients hold open, or only of those they may write to."""
        return [session.ds_path for session in self.nfc_sessions() if not (writing and session.read_only)]

    def restart_vcenter(self) -> dict[str, int]:
        """Forget sessions and tasks, as a restart of the vCenter does. The work of its hosts goes on."""
        return {"sessions": self.drop_sessions(), "tasks": self.tasks.forget()}

    def drop_sessions(self) -> int:
        """End every session; return how many SOAP sessions there were."""
        self.automation_sessions.close_all()
        return self.sessions.close_all()
