"""Asks a vCenter or an ESXi host: certificate, log-in, version, clock, rights, and the way to its hosts.

Nothing is changed there. The session is logged out at the end.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from vmkeep.clock import now
from vmkeep.errors import UsageError, VmKeepError
from vmkeep.flows.doctor import certificates, clocks, matching_versions, reaching, roles_held
from vmkeep.flows.doctor.examination import SECONDS, Answers, Subject
from vmkeep.flows.doctor.values import Answer, ok, unknown, warning
from vmkeep.model.site import Site, VCenter
from vmkeep.transfer import choose_driver
from vmkeep.vsphere.certificatelook import look_at_certificate
from vmkeep.vsphere.hostlook import HostLook, list_hosts
from vmkeep.vsphere.rightslook import look_at_rights
from vmkeep.vsphere.session import Session, open_session

_CALL_SECONDS: Final = 20.0
"""Seconds for one call, which is an answer to a few questions about names and rights."""
_TRIED: Final = (7, 8, 9)
"""Generations of vSphere that the tests know."""
_CERTIFICATE, _LOG_IN, _VERSION, _CLOCK = "certificate", "log-in", "version", "clock"
_VDDK, _PORTS = "VDDK fits", "ports of the hosts"
_ON_A_PROXY = "run 'vmkeep doctor' on each proxy, or the DAG proxy_check, which does it on all"


def vcenter_subject(
    vcenter: VCenter, *, vddk: str | None, proxy: bool = True, label: str = "", seconds: float = SECONDS
) -> Subject:
    """Return a vCenter or host as a subject.

    :param vddk: VDDK's folder on this machine, whose version is compared; ``None``: it has none.
    :param proxy: this machine copies disks. Else its way to the hosts says nothing, and it needs no VDDK.
    :param label: how people know it, e.g. the name of a connection.
    """
    names = (_CERTIFICATE, _LOG_IN, _VERSION, _CLOCK, *roles_held.NAMES, roles_held.RARE, _VDDK)
    return Subject(
        about=f"vCenter {vcenter.host}{f' ({label})' if label else ''}",
        names=(*names, _PORTS),
        ask=lambda answers: _ask(answers, vcenter, vddk, proxy=proxy),
        seconds=seconds,
    )


def _ask(answers: Answers, vcenter: VCenter, vddk: str | None, *, proxy: bool) -> None:
    trusted = answers.ask(_CERTIFICATE, lambda: certificates.judge(look_at_certificate(vcenter), now()), needed=True)
    if not trusted:
        return
    with ExitStack() as stack:
        opened: list[Session] = []

        def log_in() -> Answer:
            opened.append(stack.enter_context(open_session(vcenter, call_timeout=_CALL_SECONDS)))
            return ok(f"logged in as {opened[0].user_name}")

        if answers.ask(_LOG_IN, log_in, needed=True):
            _ask_session(answers, opened[0], vddk, proxy=proxy)


def _ask_session(answers: Answers, session: Session, vddk: str | None, *, proxy: bool) -> None:
    answers.ask(_VERSION, lambda: _version(session))
    answers.ask(_CLOCK, lambda: clocks.compare(session.server_time, f"the clock of {session.host}"))
    _ask_rights(answers, session)
    hosts: list[HostLook] = []
    known = answers.ask(_VDDK, lambda: _vddk_fits(session, vddk, hosts, proxy=proxy))
    if not proxy:
        answers.add(_PORTS, unknown("not tried, because this machine copies no disks", _ON_A_PROXY))
    elif known:
        answers.ask(_PORTS, lambda: reaching.judge(reaching.knock_at(hosts)))


def _version(session: Session) -> Answer:
    kind = "vCenter" if session.is_vcenter else "ESXi"
    told = f"{kind} {session.version}, asked in API version {session.api_version}"
    if int(session.version.partition(".")[0]) not in _TRIED:
        return warning(f"{told}: vmkeep was never tried with this generation", "try a backup and a restore first")
    return ok(told)


def _ask_rights(answers: Answers, session: Session) -> None:
    try:
        for name, answer in roles_held.judge(look_at_rights(session)):
            answers.add(name, answer)
    except VmKeepError as error:
        told = unknown(str(error))
        for name in (*roles_held.NAMES, roles_held.RARE):
            answers.add(name, told)


def _vddk_fits(session: Session, vddk: str | None, hosts: list[HostLook], *, proxy: bool) -> Answer:
    """Compare versions, and leave the hosts in a list for the next question."""
    hosts += list_hosts(session)
    servers: dict[str, str | None] = {session.host: session.version}
    servers |= {host.address: host.version for host in hosts}
    if vddk is None:
        return unknown("this machine has no VDDK whose version could be compared", _ON_A_PROXY)
    try:
        launch = choose_driver(Site(repository="", vddk=vddk, disk_drivers=("vddk",))).launch
    except UsageError as error:
        if proxy:
            raise
        return unknown(f"VDDK was not found on this machine, which copies no disks: {error}", _ON_A_PROXY)
    return matching_versions.match(launch.version, servers)
