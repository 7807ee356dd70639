"""Reads when a VM was last started and when its configuration last changed, so that a person knows what is at stake."""

from __future__ import annotations

from datetime import UTC, datetime

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_PATHS = ("runtime.powerState", "runtime.bootTime", "config.modified")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUse:
    """The last uses of a VM, by vCenter's clock."""

    power: PowerState
    booted_at: datetime | None
    """Time of the last start; ``None``: vSphere does not tell, as of a VM that is off."""
    changed_at: datetime | None
    """Time of the last change of its configuration; ``None``: vSphere does not tell."""


def read_last_use(session: Session, moref: str) -> LastUse:
    """Return the last uses of one VM."""
    with speaking(f"look at VM {moref}"):
        values = read(session, session.vm(moref), *_PATHS)
    booted, changed = values["runtime.bootTime"], values["config.modified"]
    return LastUse(
        power=PowerState(str(values["runtime.powerState"])),
        booted_at=booted.astimezone(UTC) if booted is not None else None,
        changed_at=changed.astimezone(UTC) if changed is not None and changed.year > 1970 else None,
    )
