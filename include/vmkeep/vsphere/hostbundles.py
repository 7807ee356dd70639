"""Has ESXi hosts make the bundles of their configurations, and fetches these bundles.

``BackupFirmwareConfiguration`` returns a URL with ``*`` in the place of the host, and mostly with ``http``. Only its
path is used: the bundle is fetched by HTTPS from the host that vCenter knows, which has to show its known certificate.
The bundle holds the host's keys and password digests, so it is never asked for without encryption.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from vmkeep.errors import AuthenticationError, NotFoundError, PermissionDeniedError, TransientError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hostfiles import HOST_PATHS, Answer, OwnHost, as_known, ask
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session

LIMIT = 64 << 20
"""Bytes that a bundle may have. Bundles have some hundred kilobytes."""
_MAKING_SECONDS = 300.0
"""Seconds that a host may take to make its bundle: it writes its state to the boot device first."""
FETCHING_SECONDS = 120.0
"""Seconds in which one address has to give the bundle."""
_UNLOCKED = "lockdownDisabled"
_TARGET = re.compile(r"/[!-~]*")
_PATHS = (
    *HOST_PATHS, "summary.hardware.uuid", "summary.config.product", "runtime.connectionState", "runtime.powerState",
    "config.lockdownMode", "configManager.firmwareSystem",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHost:
    """A host, with all that is needed to fetch its configuration."""

    moref: str
    name: str
    uuid: str | None
    """Hardware UUID."""
    product: str
    version: str
    build: str
    unreachable: str | None
    """The state in which the host cannot be asked, e.g. ``disconnected``; ``None``: it can."""
    lockdown: str | None
    """The lockdown mode, as vSphere spells it; ``None``: the host is not in lockdown, or vSphere does not tell."""
    firmware: str | None
    """Managed object id of the host's firmware system; ``None``: it has none, or the user may not see it."""
    end: OwnHost


def known_hosts(session: Session) -> tuple[KnownHost, ...]:
    """Return every host that the user may see, sorted by name, in a few calls for each page of hosts."""
    with speaking(f"list the hosts of {session.host}"):
        found = read_all(session, vim.HostSystem, *_PATHS)
    return tuple(sorted((_host(managed, values) for managed, values in found), key=lambda host: host.name))


def _host(managed: Any, values: dict[str, Any]) -> KnownHost:
    about = values["summary.config.product"]
    lockdown = str(values["config.lockdownMode"] or _UNLOCKED)
    firmware = values["configManager.firmwareSystem"]
    return KnownHost(
        moref=moref_of(managed),
        name=decode_name(values["name"] or moref_of(managed)),
        uuid=values["summary.hardware.uuid"] or None,
        product=str(about.fullName) if about else "",
        version=str(about.version) if about else "",
        build=str(about.build) if about else "",
        unreachable=_unreachable(values),
        lockdown=lockdown if lockdown != _UNLOCKED else None,
        firmware=moref_of(firmware) if firmware is not None else None,
        end=as_known(values),
    )


def _unreachable(values: dict[str, Any]) -> str | None:
    """Return the state in which a host cannot be asked. A host in maintenance mode can."""
    connection, power = str(values["runtime.connectionState"]), str(values["runtime.powerState"])
    if connection != "connected":
        return "not responding" if connection == "notResponding" else connection
    return {"standBy": "in standby", "poweredOff": "powered off"}.get(power)


def fetch_bundle(session: Session, host: KnownHost) -> bytes:
    """Have a host make the bundle of its configuration, and return its content as the host sent it.

    :raises VmKeepError: the host cannot be asked, the user lacks ``Host.Config.Firmware``, or the bundle cannot be
        fetched.
    """
    if host.unreachable is not None:
        raise TransientError(f"host {host.name} is {host.unreachable}: nobody can ask it for its configuration now")
    if host.firmware is None:
        raise VSphereError(f"host {host.name} offers no service that backs its configuration up")
    with speaking(f"have host {host.name} back its configuration up"), session.patience(_MAKING_SECONDS):
        system = session.managed(vim.host.FirmwareSystem, host.firmware)
        url = str(system.BackupFirmwareConfiguration())
    target = _target(url, host.name)
    if session.is_vcenter:
        answer = ask(session, host.end, target, limit=LIMIT, seconds=FETCHING_SECONDS, ticketless=True)
    else:
        status, content = session.request("GET", target, limit=LIMIT)
        answer = Answer(address=session.host, status=status, content=content)
    return _content(answer, host)


def _target(url: str, host: str) -> str:
    """Return path and query of a bundle's URL."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in ("http", "https") or not _TARGET.fullmatch(target):
        raise VSphereError(f"host {host} has put its bundle at {url!r}, which is no URL of a host")
    return target


def _content(answer: Answer, host: KnownHost) -> bytes:
    if answer.status == 200:
        return answer.content
    what = f"fetch the configuration of host {host.name} from {answer.address}"
    why = [f"HTTP {answer.status}"]
    why += [f"the host is in lockdown mode ({host.lockdown})"] if host.lockdown else []
    why += [f"the request had no ticket, because: {answer.no_ticket}"] if answer.no_ticket else []
    told = f"{what}: {'; '.join(why)}"
    if answer.status == 403:
        raise PermissionDeniedError(told, privilege="Host.Config.Firmware", target=host.moref)
    if answer.status == 401:
        raise AuthenticationError(told)
    if answer.status == 404:
        raise NotFoundError(f"{told}; the bundle is gone, maybe because somebody else had another one made")
    raise TransientError(told) if answer.status >= 500 else VSphereError(told)


def named(hosts: Iterable[KnownHost], wanted: str) -> tuple[KnownHost, ...]:
    """Return the hosts that a name, a managed object id or a hardware UUID means."""
    return tuple(
        host for host in hosts if wanted in (host.name, host.moref) or wanted.lower() == (host.uuid or "").lower()
    )
