"""Freezes the guest before a snapshot and thaws it right after, by commands of the user's own.

A guest that stays frozen is worse than a backup that fails. So the repository notes the thaw before the freeze begins,
and keeps the note until a thaw has succeeded: whatever dies, :mod:`vmkeep.flows.guest_thaws` finds the note and thaws
in the run's clean-up, before the VM's next backup, or in a sweep. A thaw may therefore run more than once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vmkeep.errors import GuestCommandError, VmKeepError
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.guest_thaws import Outputs, PendingThaw, forget, remember, try_thaw
from vmkeep.model.guest import CommandOutcome, CommandsRun, GuestCommands, Logins, outcomes
from vmkeep.model.point import BackupMode
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.vsphere import guestcommands, inventory
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

LEASE = "freeze"
"""Name of the lease that a run holds while it holds a guest frozen."""
_MODES = (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM)
"""The modes in which the guest runs before and after the snapshot."""


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


class Frozen:
    """The record of the commands around one snapshot. It is complete when the context of the freeze has ended."""

    ran: CommandsRun | None = None


@contextmanager
def frozen_guest(
    session: Session, repository: Repository, pre: Preflight, logins: Logins, warnings: list[str]
) -> Iterator[Frozen]:
    """Run the freeze command, then the body, then the thaw command, whatever has happened in between.

    :raises GuestCommandError: the freeze failed, and was required. The guest is thawed again, and the body not run.
    """
    commands, frozen = pre.request.guest, Frozen()
    if commands is None or not pre.running or pre.mode not in _MODES:
        frozen.ran = outcomes(commands, CommandOutcome.NOT_RUN) if commands else None
        yield frozen
        return
    vm = VmRef(moref=pre.vm.moref or "", name=pre.vm.name)
    shell = guestcommands.open_shell(session, vm.moref, logins(commands.login))
    lease = repository.run(pre.request.run).open_lease(LEASE)
    with Outputs(shell, vm.name, commands.seconds) as outputs, lease:
        note = PendingThaw(
            run=pre.request.run, vm=vm, vcenter=pre.vm.vcenter, since=session.server_time(), commands=commands
        )
        freeze = outputs.ready("freeze", commands.freeze)
        thaw = outputs.ready("thaw", commands.thaw)
        remember(repository, note)
        frozen.ran, lost = outcomes(commands, CommandOutcome.SUCCEEDED), False
        try:
            if not _freeze(freeze, commands, warnings, vm.name):
                frozen.ran = replace(frozen.ran, freeze=CommandOutcome.FAILED)
            yield frozen
            lost = frozen.ran.freeze == CommandOutcome.SUCCEEDED and shell.has_restarted()
        finally:
            if not _thaw(session, repository, note, thaw, warnings):
                frozen.ran = replace(frozen.ran, thaw=CommandOutcome.FAILED)
        if lost:
            _tell_lost(commands, warnings, vm.name)
            frozen.ran = replace(frozen.ran, freeze=CommandOutcome.FAILED)


def _tell_lost(commands: GuestCommands, warnings: list[str], vm: str) -> None:
    """Tell that the snapshot may be of a guest that is not frozen.

    :raises GuestCommandError: the freeze was required.
    """
    why = "the guest, or its VMware Tools, restarted between the pre-freeze command and the snapshot"
    if commands.required:
        raise GuestCommandError(f"VM {vm}: {why}, so there is no backup")
    warnings.append(f"{why}, so the point may hold unflushed data")
    log.warning("VM %s: %s", vm, warnings[-1])


def _freeze(freeze: Callable[[], None], commands: GuestCommands, warnings: list[str], vm: str) -> bool:
    """Run the freeze command; return whether it succeeded."""
    try:
        freeze()
    except VmKeepError as error:
        if commands.required:
            raise
        warnings.append(f"the pre-freeze command failed, so the point may hold unflushed data: {error}")
        log.warning("VM %s: %s", vm, warnings[-1])
        return False
    return True


def _thaw(
    session: Session, repository: Repository, note: PendingThaw, thaw: Callable[[], None], warnings: list[str]
) -> bool:
    """Run the thaw command; return whether it succeeded, or the VM is off, so that nothing of its guest is frozen."""
    problem = try_thaw(thaw)
    if problem is None or _is_off(session, note.vm.moref):
        forget(repository, note)
        return True
    warnings.append(f"the guest may still be frozen, because the post-thaw command failed: {problem}")
    log.error("VM %s: %s; it is tried again when the snapshot is removed", note.vm, warnings[-1])
    return False


def _is_off(session: Session, moref: str) -> bool:
    try:
        return guestcommands.is_off(session, moref)
    except VmKeepError as error:
        log.warning("VM %s: %s", moref, error)
        return False
