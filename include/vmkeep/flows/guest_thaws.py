"""Remembers which guests are to be thawed, and thaws those that dead runs have left frozen.

A note of each frozen guest is kept in one area of the repository, because vSphere shows nothing of it. While a run
holds a guest frozen, it holds a lease of its own area, too: so others know when it has died.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Self

from vmkeep.errors import (
    ConflictError,
    CorruptError,
    GuestCommandError,
    NotFoundError,
    TransientError,
    UnreachableError,
    VmKeepError,
)
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.liveness import HasEnded, nobody_knows, owner_has_ended
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import GuestCommands, Logins
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.repository.notes import GUEST_THAWS
from vmkeep.vsphere import guestcommands
from vmkeep.vsphere.guestcommands import GuestShell
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

AREA = GUEST_THAWS
"""The area of the notes of all guests that are to be thawed."""
_TRIES = 3
"""Number of attempts to thaw in a row."""
_WAITS = 12
"""Number of pauses while VMware Tools or vSphere are away."""
WAIT_SECONDS = 5.0
"""Seconds of such a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingThaw:
    """A guest that a run began to freeze, and that nobody has thawed since."""

    run: str
    vm: VmRef
    vcenter: str | None
    since: datetime
    """Time by vCenter's clock."""
    commands: GuestCommands

    @property
    def name(self) -> str:
        """The note's name: one for each VM of each vCenter."""
        return _name(self.vcenter, self.vm.moref)


def remember(repository: Repository, note: PendingThaw) -> None:
    """Note that a guest is to be thawed. Call this before it is frozen, because the process may die at any moment."""
    repository.run(AREA).store(note.name, to_json(note))


def thaw_left(session: Session, repository: Repository, note: PendingThaw, logins: Logins) -> VmKeepError | None:
    """Thaw a guest that a dead run has left frozen. Return the error, if that fails; the note stays then."""
    log.warning("VM %s: thawing its guest, which run %s began to freeze", note.vm, note.run)
    try:
        problem = None if guestcommands.is_off(session, note.vm.moref) else _thaw(session, note, logins)
    except NotFoundError:
        problem = None  # the VM is gone
    except VmKeepError as error:
        problem = error
    if problem is not None:
        return GuestCommandError(
            f"the guest of VM {note.vm} may still be frozen, because thawing it failed: {problem}; thaw it by hand, or "
            "see 'Commands in the guest' in docs/operations/backups.md"
        )
    forget(repository, note)
    return None


def _thaw(session: Session, note: PendingThaw, logins: Logins) -> VmKeepError | None:
    shell = guestcommands.open_shell(session, note.vm.moref, logins(note.commands.login))
    with Outputs(shell, note.vm.name, note.commands.seconds) as outputs:
        return try_thaw(outputs.ready("thaw", note.commands.thaw))


def thaw_before(
    session: Session, repository: Repository, pre: Preflight, has_ended: HasEnded, logins: Logins
) -> tuple[str, ...]:
    """Thaw the guest of a VM that is about to be backed up, if a dead run has left it frozen.

    :returns: warnings.
    :raises ConflictError: the run that froze the guest may be at work right now.
    """
    try:
        note = _load(repository, _name(pre.vm.vcenter, pre.vm.moref or ""))
    except CorruptError as error:
        return (f"the note about a guest that may be frozen cannot be read: {error}",)
    if note is None:
        return ()
    if note.run != pre.request.run and is_alive(repository, note, has_ended):
        raise ConflictError(
            f"VM {pre.vm.name} is being backed up by run {note.run}, which has frozen its guest: wait for it, or stop "
            "it, then try again"
        )
    problem = thaw_left(session, repository, note, logins)
    return () if problem is None else (str(problem),)


def is_alive(repository: Repository, note: PendingThaw, has_ended: HasEnded) -> bool:
    """Tell whether the run that froze a guest may still be at work: until it has thawed the guest, it holds a lease."""
    area = repository.run(note.run)
    if area.fenced:
        return False
    ended = owner_has_ended(area, has_ended)
    return area.has_live_lease() if ended is None else not ended


def thaw_run(site: Site, repository: Repository, moref: str, run: str, *, logins: Logins) -> VmKeepError | None:
    """Thaw a guest that this run has left frozen, in a session of its own. Return the error, if that fails.

    Never raises, because a snapshot has to be removed whatever becomes of the guest.
    """
    try:
        found = [note for note in _notes(repository) if (note.run, note.vm.moref) == (run, moref)]
    except VmKeepError as error:
        log.warning("run %s: its note about a frozen guest, if any, is left to the sweep: %s", run, error)
        return None
    if not found:
        return None
    try:
        with open_vsphere(site) as session:
            here = [note for note in found if note.vcenter == server_uuid(session)]
            return thaw_left(session, repository, here[0], logins) if here else None
    except VmKeepError as error:
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftThaw:
    """A pending thaw, and whether its run may still be at work."""

    note: PendingThaw
    alive: bool


def find_left(site: Site, *, has_ended: HasEnded = nobody_knows) -> tuple[LeftThaw, ...]:
    """Return every guest of the site's vCenter that some run began to freeze and nobody has thawed. Changes nothing.

    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    """
    with open_site_repository(site) as repository:
        notes = _notes(repository)
        if not notes:
            return ()
        with open_vsphere(site) as session:
            here = server_uuid(session)
        return tuple(
            LeftThaw(note=note, alive=is_alive(repository, note, has_ended)) for note in notes if note.vcenter == here
        )


def thaw_dead(site: Site, left: LeftThaw, logins: Logins) -> VmKeepError | None:
    """Thaw a guest whose run is dead. Return the error, if that fails; the next sweep tries again."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        return thaw_left(session, repository, left.note, logins)


class Outputs:
    """The outputs of the commands of one step. They are logged at its end, because a frozen guest may write no file.

    That of a command which failed is a warning, so that a terminal shows it, too.
    """

    def __init__(self, shell: GuestShell, vm: str, seconds: float) -> None:
        self._shell = shell
        self._seconds = seconds
        self._vm = vm
        self._files: list[tuple[str, str]] = []
        self._failed: set[str] = set()

    def ready(self, name: str, command: str | None) -> Callable[[], None]:
        """Prepare a command, because nothing can be prepared in a frozen guest; return the function that runs it."""
        if command is None:
            return lambda: None
        output = self._shell.new_output()
        if output is not None:
            self._files.append((name, output))

        def run() -> None:
            self._failed.add(name)
            ended = self._shell.run(command, seconds=self._seconds, output=output)
            log.info("VM %s: %s ended with %d after %.1f s", self._vm, name, ended.exit_code, ended.seconds)
            if ended.exit_code != 0:
                raise GuestCommandError(f"VM {self._vm}: the {name} command ended with exit code {ended.exit_code}")
            self._failed.discard(name)

        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name, output in self._files:
            try:
                text = self._shell.fetch(output)
            except VmKeepError as error:
                log.warning("VM %s: the output of %s cannot be read: %s", self._vm, name, error)
                continue
            level = logging.WARNING if name in self._failed else logging.INFO
            for line in text.splitlines():
                log.log(level, "VM %s: %s: %s", self._vm, name, line)


def try_thaw(thaw: Callable[[], None], *, pause: Callable[[float], None] | None = None) -> VmKeepError | None:
    """Run the thaw command, several times if it fails. Return the last error.

    VMware Tools, the host or vCenter may be away for some seconds, because one of them restarts. That is waited for,
    because a guest that stays frozen is an outage.

    :param pause: waits between two tries; ``None``: sleeps.
    """
    tries = waits = 0
    while True:
        try:
            thaw()
        except (TransientError, UnreachableError) as error:
            log.warning("%s", error)
            waits += 1
            if waits > _WAITS:
                return error
            (pause or time.sleep)(WAIT_SECONDS)
        except VmKeepError as error:
            log.warning("%s", error)
            tries += 1
            if tries == _TRIES:
                return error
        else:
            return None


def forget(repository: Repository, note: PendingThaw) -> None:
    """Remove the note. A failure does no harm: the guest is thawed once more."""
    try:
        repository.run(AREA).discard(note.name)
    except VmKeepError as error:
        log.warning("the note of VM %s still says that its guest is to be thawed: %s", note.vm, error)


def _notes(repository: Repository) -> list[PendingThaw]:
    """Return all notes that can be read."""
    found = []
    for name in repository.run(AREA).names():
        try:
            note = _load(repository, name)
        except CorruptError as error:
            log.warning("a note about a frozen guest is unreadable: %s", error)
            continue
        if note is not None:
            found.append(note)
    return found


def _load(repository: Repository, name: str) -> PendingThaw | None:
    try:
        return from_json(PendingThaw, repository.run(AREA).load(name))
    except NotFoundError:
        return None
    except ValueError as error:
        raise CorruptError(f"the note {name} of {AREA} does not parse: {error}") from error


def _name(vcenter: str | None, moref: str) -> str:
    return hashlib.sha256(f"{vcenter}\n{moref}".encode()).hexdigest()[:32]
