"""Makes ready scanners of the places that a person names: the signatures of ClamAV, and YARA rules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.model.wording import age
from vmkeep.scanning.clamd import ClamdAddress, ask, ask_about, parse_clamd_address, parse_version, verdict_of
from vmkeep.scanning.clamdprobes import prove
from vmkeep.scanning.contract import Content, Scanner, Verdict
from vmkeep.scanning.owndaemon import newest_signature, own_daemon
from vmkeep.scanning.yararules import compile_rules
from vmkeep.scanning.yarascanner import yara_scanner
from vmkeep.scratch import private_folder

OLD: Final = timedelta(days=7)
"""Age from which signatures of ClamAV are called old. Their makers publish new ones every day."""
_SOCKETS: Final = ("/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock", "/run/clamav/clamd.sock")
"""Where the daemons of Debian, Red Hat and others listen."""
_SIGNATURES: Final = "/var/lib/clamav"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerPlaces:
    """The scanners that a person wants."""

    clamav: str | None = None
    """The daemon's socket or ``HOST:PORT``, or a folder of signatures; ``None``: ClamAV does not scan."""
    yara: tuple[Path, ...] = ()
    """Files and folders of rules; empty: YARA does not scan."""


def default_clamav() -> str | None:
    """Return where ClamAV is on this machine: the socket of a daemon, or else the folder of its signatures."""
    if found := next((path for path in _SOCKETS if Path(path).is_socket()), None):
        return found
    installed = shutil.which("clamd", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    return _SIGNATURES if installed and Path(_SIGNATURES).is_dir() else None


@contextmanager
def open_scanners(places: ScannerPlaces, *, threads: int) -> Iterator[tuple[Scanner, ...]]:
    """Open the scanners, let each prove itself, and close them with the context.

    :param threads: the threads that scan at the same time.
    :raises UsageError: no scanner is named, or a place holds none, or rules are wrong.
    :raises UnsupportedError: a program is not installed, or the verdicts of a daemon are worth nothing.
    :raises UnreachableError: a daemon does not answer.
    """
    if places.clamav is None and not places.yara:
        raise UsageError("no scanner: name ClamAV (--clamav) or YARA rules (--yara), or install clamav-daemon")
    with ExitStack() as stack:
        scanners: list[Scanner] = []
        if places.yara:  # first, because wrong rules show at once, and a daemon starts for a minute
            compiled = compile_rules(places.yara, stack.enter_context(private_folder()))
            scanners.append(stack.enter_context(yara_scanner(compiled, threads=threads)))
        if places.clamav is not None:
            scanners.insert(0, stack.enter_context(_clamav(places.clamav, threads=threads)))
        yield tuple(scanners)


@contextmanager
def _clamav(place: str, *, threads: int) -> Iterator[Scanner]:
    folder = Path(place).expanduser()
    if "/" in place and not folder.exists():
        raise UsageError(f"'{place}' is neither the socket of clamd nor a folder of signatures: it does not exist")
    if not folder.is_dir():
        address = parse_clamd_address(str(folder) if "/" in place else place)
        yield _Clamd(address, parse_version(ask(address, "VERSION")), prove(address))
        return
    with own_daemon(folder, threads=threads) as address:
        facts = parse_version(ask(address, "VERSION"))
        if facts.signatures_at is None:
            facts = replace(facts, signatures_at=newest_signature(folder))
        yield _Clamd(address, facts, prove(address))


class _Clamd:
    """ClamAV's daemon as a :class:`~vmkeep.scanning.contract.Scanner`."""

    def __init__(self, address: ClamdAddress, facts: ScannerFacts, warnings: tuple[str, ...]) -> None:
        self._address = address
        self.facts = facts
        self.warnings = (*_about_age(facts), *warnings)

    def scan(self, content: Content) -> Verdict:
        """Return the daemon's verdict about a file."""
        return verdict_of(ask_about(self._address, content))


def _about_age(facts: ScannerFacts) -> Iterator[str]:
    if facts.signatures_at is None:
        yield "ClamAV does not tell the date of its signatures, so that they may be old"
    elif (passed := now() - facts.signatures_at) > OLD:
        yield (
            f"the signatures of ClamAV are {age(passed.total_seconds())} old, so that newer malware is not found: let "
            "freshclam fetch new ones"
        )
