"""The work of one child process, as its verbs get it: the request, the open driver, and the ways to the parent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vmkeep.lateclass import dataclass
from vmkeep.model.diskaccess import DiskAccess
from vmkeep.model.site import Site
from vmkeep.transfer.new_rate import NewRate
from vmkeep.transfer.protocol import ChildRequest
from vmkeep.transfer.stop_reasons import Stop

if TYPE_CHECKING:
    from vmkeep.model.job import Progress
    from vmkeep.model.transport import AccessUsed
    from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTask:
    """The request of a child process, with everything that carries it out."""

    request: ChildRequest
    site: Site
    rate: NewRate
    access: DiskAccess
    """The open driver."""
    stop: Stop
    report: Callable[[Progress], None]
    """Takes each event of the transfer."""

    def open_repository(self) -> Repository:
        """Open the repository of the site. From then on, its rate limit may be changed."""
        from vmkeep.repository import open_site_repository  # only now, because it is heavy, and not each verb needs it

        master = bytes.fromhex(self.request.master) if self.request.master else None
        repository = open_site_repository(self.site, master=master)
        self.rate.begin()
        return repository

    def check_with(self, lease: Callable[[], None]) -> Callable[[], None]:
        """Return the check that the transfer makes again and again: nobody has stopped it, and its lease is held.

        :param lease: raises an error if the lease is lost.
        """

        def check() -> None:
            self.stop.check()
            lease()

        return check

    def used(self, transport: str, modes: Sequence[str], why: str = "") -> AccessUsed | None:
        """Return the way that a disk was read or written.

        :param modes: the modes that were given to the driver.
        :param why: the reasons against the modes that were left out before.
        """
        from vmkeep.model.job import from_plain
        from vmkeep.model.transport import AccessUsed, why_another

        if self.request.access is None:
            return None
        told = {"transport": transport, "why_transport": "; ".join(filter(None, [why, why_another(transport, modes)]))}
        return from_plain(AccessUsed, {**self.request.access, **told})
