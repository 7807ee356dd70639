"""Freezes the guest before a snapshot and thaws it right after, by commands of the user's own.

A guest that stays frozen is worse than a backup that fails. So the repository notes the thaw before the freeze begins,
and keeps the note until a thaw has succeeded: whatever dies, the run's clean-up, the VM's next backup or the sweep
finds the note and thaws. A thaw may therefore run more than once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from vmkeep.errors import CorruptError, GuestCommandError, NotFoundError, VmKeepError
from vmkeep.flows import vm_access
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.other_restores import GIVEN_UP, HasEnded, nobody_knows
from vmkeep.flows.values import Preflight
from vmkeep.model.guest import GuestCommands, Logins
from vmkeep.model.job import from_json, to_json
from vmkeep.model.point import BackupMode
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import guestcommands, inventory
from vmkeep.vsphere.guestcommands import GuestShell
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

AREA = "guest-thaws"
"""The area of the notes of all guests that are to be thawed."""
_MODES = (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM)
"""The modes in which the guest runs before and after the snapshot."""
_TRIES = 3
"""Number of attempts to thaw in a row."""


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
        return _note(self.vcenter, self.vm.moref)


def circumstances(commands: GuestCommands | None) -> tuple[When, ...]:
    """Return the circumstances in which a backup needs more rights."""
    return () if commands is None else (When.GUEST,)


def check(
    session: Session, vm: inventory.VmDescription, commands: GuestCommands | None, mode: BackupMode, logins: Logins
) -> tuple[str, ...]:
    """Log in to the guest, so that a wrong password fails a backup before it changes anything.

    :returns: warnings.
    :raises VmKeepError: the guest's user is not known, or the guest or its Tools refuse.
    """
    if commands is None:
        return ()
    login = logins(commands.login)
    if not vm.running or mode not in _MODES:
        why = f"mode {mode} holds it still" if vm.running else "it does not run"
        return (f"no command is run in the guest of VM {vm.identity.name}, because {why}",)
    guestcommands.open_shell(session, vm.moref, login)
    return ()


@contextmanager
def frozen_guest(
    session: Session, repository: Repository, pre: Preflight, logins: Logins, warnings: list[str]
) -> Iterator[None]:
    """Run the freeze command, then the body, then the thaw command, whatever has happened in between.

    :raises GuestCommandError: the freeze failed, and was required. The guest is thawed again, and the body not run.
    """
    commands = pre.request.guest
    if commands is None or not pre.running or pre.mode not in _MODES:
        yield
        return
    vm = VmRef(moref=pre.vm.moref or "", name=pre.vm.name)
    shell = guestcommands.open_shell(session, vm.moref, logins(commands.login))
    with _Outputs(shell, vm.name, commands.seconds) as outputs:
        note = PendingThaw(
            run=pre.request.run, vm=vm, vcenter=pre.vm.vcenter, since=session.server_time(), commands=commands
        )
        freeze = outputs.ready("freeze", commands.freeze)
        thaw = outputs.ready("thaw", commands.thaw)
        repository.run(AREA).store(note.name, to_json(note))  # before the freeze: this process may die at any moment
        try:
            _freeze(freeze, commands, warnings, vm.name)
            yield
        finally:
            _thaw(repository, note, thaw, warnings)


def _freeze(freeze: Callable[[], None], commands: GuestCommands, warnings: list[str], vm: str) -> None:
    try:
        freeze()
    except VmKeepError as error:
        if commands.required:
            raise
        warnings.append(f"the pre-freeze command failed, so the point may hold unflushed data: {error}")
        log.warning("VM %s: %s", vm, warnings[-1])


def _thaw(repository: Repository, note: PendingThaw, thaw: Callable[[], None], warnings: list[str]) -> None:
    problem = _try_thaw(thaw)
    if problem is None:
        _forget(repository, note)
        return
    warnings.append(f"the guest may still be frozen, because the post-thaw command failed: {problem}")
    log.error("VM %s: %s; it is tried again when the snapshot is removed", note.vm, warnings[-1])


def thaw_left(
    session: Session, repository: Repository, moref: str, *, run: str | None, logins: Logins
) -> VmKeepError | None:
    """Thaw a guest that a run has left frozen. Return the error, if that fails; the note stays then.

    :param run: the run whose note counts; ``None``: any, because the caller knows that no other run is alive.
    """
    try:
        note = _load(repository, _note(server_uuid(session), moref))
    except VmKeepError as error:
        log.warning("VM %s: its note about a frozen guest cannot be read: %s", moref, error)
        return error
    if note is None or (run is not None and note.run != run):
        return None
    log.warning("VM %s: thawing its guest, which run %s began to freeze", note.vm, note.run)
    try:
        shell = guestcommands.open_shell(session, moref, logins(note.commands.login))
        with _Outputs(shell, note.vm.name, note.commands.seconds) as outputs:
            problem = _try_thaw(outputs.ready("thaw", note.commands.thaw))
    except NotFoundError:
        problem = None  # the VM is gone
    except VmKeepError as error:
        problem = error
    if problem is not None:
        return GuestCommandError(
            f"the guest of VM {note.vm} may still be frozen, because thawing it failed: {problem}; thaw it by hand, or "
            "see 'Commands in the guest' in operations.md"
        )
    _forget(repository, note)
    return None


def thaw_run(site: Site, repository: Repository, moref: str, run: str, *, logins: Logins) -> VmKeepError | None:
    """Thaw a guest that this run has left frozen, in a session of its own. Return the error, if that fails.

    Never raises, because a snapshot has to be removed whatever becomes of the guest.
    """
    try:
        if not any(note.run == run and note.vm.moref == moref for note in _notes(repository)):
            return None
    except VmKeepError as error:
        log.warning("run %s: its note about a frozen guest, if any, is left to the sweep: %s", run, error)
        return None
    try:
        with open_vsphere(site) as session:
            return thaw_left(session, repository, moref, run=run, logins=logins)
    except VmKeepError as error:
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftThaw:
    """A pending thaw, and whether its run may still be at work."""

    note: PendingThaw
    alive: bool


def find_left(
    site: Site, *, has_ended: HasEnded = nobody_knows, given_up: timedelta = GIVEN_UP
) -> tuple[LeftThaw, ...]:
    """Return every guest of the site's vCenter that some run began to freeze and nobody has thawed. Changes nothing.

    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    with open_site_repository(site) as repository:
        notes = _notes(repository)
        if not notes:
            return ()
        with open_vsphere(site) as session:
            here, now = server_uuid(session), session.server_time()
        return tuple(
            LeftThaw(
                note=note,
                alive=vm_access.holder_is_alive(
                    repository,
                    vm_access.Holder(run=note.run, since=note.since),
                    now=now,
                    has_ended=has_ended,
                    given_up=given_up,
                ),
            )
            for note in notes
            if note.vcenter == here
        )


def thaw_dead(site: Site, left: LeftThaw, logins: Logins) -> VmKeepError | None:
    """Thaw a guest whose run is dead. Return the error, if that fails; the next sweep tries again."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        return thaw_left(session, repository, left.note.vm.moref, run=left.note.run, logins=logins)


class _Outputs:
    """The outputs of the commands of one step. They are logged at its end, because a frozen guest may write no file."""

    def __init__(self, shell: GuestShell, vm: str, seconds: float) -> None:
        self._shell = shell
        self._seconds = seconds
        self._vm = vm
        self._files: list[tuple[str, str]] = []

    def ready(self, name: str, command: str | None) -> Callable[[], None]:
        """Prepare a command, because nothing can be prepared in a frozen guest; return the function that runs it."""
        if command is None:
            return lambda: None
        output = self._shell.new_output()
        if output is not None:
            self._files.append((name, output))

        def run() -> None:
            ended = self._shell.run(command, seconds=self._seconds, output=output)
            log.info("VM %s: %s ended with %d after %.1f s", self._vm, name, ended.exit_code, ended.seconds)
            if ended.exit_code != 0:
                raise GuestCommandError(f"VM {self._vm}: the {name} command ended with exit code {ended.exit_code}")

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
            for line in text.splitlines():
                log.info("VM %s: %s: %s", self._vm, name, line)


def _try_thaw(thaw: Callable[[], None]) -> VmKeepError | None:
    """Run the thaw command, several times if it fails. Return the last error."""
    problem: VmKeepError | None = None
    for _ in range(_TRIES):
        try:
            thaw()
        except VmKeepError as error:
            log.warning("%s", error)
            problem = error
        else:
            return None
    return problem


def _forget(repository: Repository, note: PendingThaw) -> None:
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


def _note(vcenter: str | None, moref: str) -> str:
    return hashlib.sha256(f"{vcenter}\n{moref}".encode()).hexdigest()[:32]
