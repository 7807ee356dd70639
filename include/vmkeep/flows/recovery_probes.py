"""Finds out whether a restored VM works: VMware Tools, ports, web pages, and commands in the guest.

Each probe is repeated until it succeeds or the time is over. Its last answer is the evidence in the report.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.flows.stopping import Stop
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import Logins
from vmkeep.recovery import GuestProbe, ProbeResult, Probes
from vmkeep.vsphere import guestcommands
from vmkeep.vsphere.health import VmHealth, health_of
from vmkeep.vsphere.session import Session

_ATTEMPT_SECONDS = 10.0
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 5.0
_EXCERPT = 300
"""Characters of a command's output that are kept as evidence."""


class _NotYetError(Exception):
    """A probe has not succeeded yet. The message is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A probe in words, and its attempt, which returns the answer or raises."""

    words: str
    attempt: Callable[[VmHealth], str]


def probe_vm(
    session: Session,
    moref: str,
    probes: Probes,
    *,
    logins: Logins,
    stop: Stop,
    tell: Callable[[str], None] = lambda _waiting: None,
) -> tuple[ProbeResult, ...]:
    """Probe a VM until every probe has succeeded or the time is over. Return the last result of each.

    :param tell: takes once, in words, what is waited for, if not every probe succeeds at once.
    :raises CancelledError: somebody has asked to stop.
    """
    until = time.monotonic() + probes.within
    waiting = dict(enumerate(_probes(session, moref, probes, logins)))
    results: dict[int, ProbeResult] = {}
    pause = _FIRST_PAUSE
    told = False
    while waiting:
        stop.check()
        results |= dict(_attempts(session, moref, waiting))
        waiting = {number: probe for number, probe in waiting.items() if not results[number].succeeded}
        if waiting and not told:
            tell(f"{', '.join(probe.words for probe in waiting.values())}, for up to {probes.within:.0f} s")
            told = True
        remaining = until - time.monotonic()
        if remaining <= 0:
            break
        if waiting:
            stop.wait(min(pause, remaining))
            pause = min(_LAST_PAUSE, pause * 1.5)
    return tuple(results[number] for number in sorted(results))


def _probes(session: Session, moref: str, wanted: Probes, logins: Logins) -> Iterator[_Probe]:
    yield _Probe(words="power", attempt=lambda _health: "the VM runs")
    if wanted.tools:
        yield _Probe(words="VMware Tools", attempt=_tools)
    for port in wanted.tcp:
        yield _Probe(words=f"TCP port {port}", attempt=partial(_tcp, port=port))
    for url in wanted.http:
        yield _Probe(words=url, attempt=partial(_http, url=url))
    if wanted.guest is not None:
        run = partial(_command, session=session, moref=moref, probe=wanted.guest, logins=logins)
        yield _Probe(words=f"command in the guest: {wanted.guest.command}", attempt=run)


def _attempts(session: Session, moref: str, waiting: dict[int, _Probe]) -> Iterator[tuple[int, ProbeResult]]:
    try:
        health = health_of(session, moref)
    except VmKeepError as error:
        for number, probe in waiting.items():
            yield number, _result(probe, succeeded=False, told=str(error))
        return
    for number, probe in waiting.items():
        yield number, _attempt(probe, health)


def _attempt(probe: _Probe, health: VmHealth) -> ProbeResult:
    if not health.running:
        return _result(probe, succeeded=False, told="the VM is not running")
    try:
        return _result(probe, succeeded=True, told=probe.attempt(health))
    except (_NotYetError, VmKeepError, OSError, ValueError, http.client.HTTPException) as error:
        return _result(probe, succeeded=False, told=str(error) or type(error).__name__)


def _result(probe: _Probe, *, succeeded: bool, told: str) -> ProbeResult:
    return ProbeResult(probe=probe.words, succeeded=succeeded, at=now(), told=told)


def _tools(health: VmHealth) -> str:
    if not health.tools_run:
        raise _NotYetError("VMware Tools do not run in the guest")
    if health.heartbeat != "green":
        raise _NotYetError(f"the heartbeat is {health.heartbeat}")
    return "VMware Tools run, the heartbeat is green"


def _tcp(health: VmHealth, *, port: int) -> str:
    address = _address(health)
    with closing(socket.create_connection((address, port), timeout=_ATTEMPT_SECONDS)):
        return f"{address} takes connections"


def _http(health: VmHealth, *, url: str) -> str:
    """Ask for a page. Certificates are not checked, because the guest is known by an address and nothing is sent."""
    parts = urlsplit(url.replace("{address}", _in_url(_address(health))) if "{address}" in url else url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_ATTEMPT_SECONDS, context=_unchecked()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_ATTEMPT_SECONDS)
    with closing(connection):
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
        status = connection.getresponse().status
    if status >= http.client.BAD_REQUEST:
        raise _NotYetError(f"status {status}")
    return f"status {status}"


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _command(health: VmHealth, *, session: Session, moref: str, probe: GuestProbe, logins: Logins) -> str:
    if not health.tools_run:
        raise _NotYetError("VMware Tools do not run in the guest")
    shell = guestcommands.open_shell(session, moref, logins(probe.login))
    output = shell.new_output()
    end = shell.run(probe.command, seconds=_ATTEMPT_SECONDS * 3, output=output)
    said = shell.fetch(output)[:_EXCERPT] if output else ""
    told = f"exit code {end.exit_code}{f', it says: {said}' if said else ''}"
    if end.exit_code != 0:
        raise _NotYetError(told)
    return told


def _address(health: VmHealth) -> str:
    if not health.addresses:
        raise _NotYetError("the guest has no address yet")
    return health.addresses[0]


def _in_url(address: str) -> str:
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address
