"""Knocks at TCP ports of many hosts side by side. A host that does not answer costs one time limit, not one each."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from vmkeep.flows.doctor.values import Answer, fault, ok, unknown, warning
from vmkeep.flows.side_by_side import SideBySide
from vmkeep.flows.stopping import Stop
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.vsphere.hostlook import HostLook

PORTS: Final = (443, 902)
"""HTTPS for files and tickets, and NFC for the disks."""
_SECONDS: Final = 5.0
_AT_ONCE: Final = 64
_THIS_MACHINE: Final = ".localhost"
"""Names below it are those of the machine that asks (RFC 6761, section 6.3). So no other machine has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """The outcome of one attempt to connect."""

    host: HostLook
    port: int
    why_not: str
    """Empty: it answered."""


def knock_at(hosts: Sequence[HostLook], ports: Sequence[int] = PORTS, *, seconds: float = _SECONDS) -> list[Knock]:
    """Connect to each port of each host, and hang up. Nothing is sent."""
    doors = [(host, port) for host in hosts for port in ports]

    def work(door: tuple[HostLook, int]) -> Knock:
        host, port = door
        return Knock(host=host, port=port, why_not=why_not(host.address, port, seconds=seconds))

    return SideBySide(doors, work, go_on=lambda _knock: True).run(_AT_ONCE, Stop())


def why_not(address: str, port: int, *, seconds: float) -> str:
    """Return the reason why a port cannot be reached from this machine; empty: it can."""
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return ""
    except (socket.gaierror, UnicodeError):
        return "the name does not resolve"
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"
    except OSError as error:
        return error.strerror or type(error).__name__


def judge(knocks: Sequence[Knock]) -> list[Answer]:
    """Return an answer for each host that cannot be reached, and one for all others together. Pure."""
    hosts = {knock.host.address: knock.host for knock in knocks}
    if not hosts:
        return [unknown("the user sees no ESXi host", "let the user see the hosts: grant the role on them, too")]
    closed: dict[str, list[Knock]] = {}
    for knock in knocks:
        if knock.why_not:
            closed.setdefault(knock.host.address, []).append(knock)
    answers = [_trouble(hosts[address], found) for address, found in closed.items()]
    reached = len(hosts) - len(closed)
    if reached:
        ports = " and ".join(str(port) for port in dict.fromkeys(knock.port for knock in knocks))
        answers.insert(0, ok(f"TCP {ports} of {counted(reached, 'host')} can be reached from this machine"))
    return answers


def _trouble(host: HostLook, closed: Sequence[Knock]) -> Answer:
    if host.address.lower().endswith(_THIS_MACHINE):
        return unknown(
            f"host {host.address}: by its name it is this machine itself, as the hosts of a simulated vSphere are; "
            "nothing tells whether the hosts of a real one can be reached"
        )
    told = "; ".join(f"TCP {knock.port}: {knock.why_not}" for knock in closed)
    if host.out_of_use is not None:
        return warning(f"host {host.address} is {host.out_of_use}; {told}")
    return fault(
        f"host {host.address}: {told}",
        "let this machine resolve the name, and open these ports in the firewall: vCenter chooses the host of a copy",
    )
