"""Runs the proxy's hook round the copy of a VM's disks: after its snapshot is taken, and when no copy runs any more.

A hook may take a snapshot on a storage array, which costs space until the second call removes it. So the repository
notes the second call before the first one begins, and keeps the note until the second has succeeded: whatever dies,
the run's clean-up, the VM's next backup or a sweep makes up for it. The second call may therefore come more than once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from vmkeep.clock import now
from vmkeep.errors import ArrayHookError, CorruptError, NotFoundError, VmKeepError
from vmkeep.flows.backup_values import Preflight, SnapshotTaken
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.liveness import HasEnded, nobody_knows, run_is_alive
from vmkeep.lateclass import dataclass
from vmkeep.model.arrayhook import HookAnswer, HookDisk, HookEvent, HookFacts, HookStore
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.proxy import require_hook, run_hook
from vmkeep.repository import Repository, open_site_repository
from vmkeep.repository.notes import ARRAY_HOOKS
from vmkeep.vsphere import rdms, snapshots
from vmkeep.vsphere.reach import read_reach
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

AREA = ARRAY_HOOKS
"""The area of the notes of all hooks whose second call is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingHook:
    """A run for which the hook was called before the copy, and not yet after it."""

    vcenter: str | None
    since: datetime
    """Time of the first call by the proxy's clock."""
    facts: HookFacts
    returned: bool = False
    """The first call has ended. If its process died before, the hook may go on for a time by itself."""

    @property
    def vm(self) -> VmRef:
        """The VM that the run backs up."""
        return VmRef(moref=self.facts.vm.moref or "", name=self.facts.vm.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftHook:
    """A pending hook, and the outcome of its second call, if that was made."""

    note: PendingHook
    alive: bool
    """The run may still be at work, so that the hook was not called."""
    called: bool = False
    problem: VmKeepError | None = None

    @property
    def state(self) -> str:
        """The outcome in words."""
        if self.alive:
            return "in use"
        return str(self.problem or ("called after the copy" if self.called else "no living run"))


def check(site: Site) -> None:
    """Return if the site has no hook, or one that can be run.

    :raises UsageError: it cannot.
    """
    if site.array_hook is not None:
        require_hook(site.array_hook)


def before_copy(
    site: Site, session: Session, repository: Repository, pre: Preflight, taken: SnapshotTaken
) -> SnapshotTaken:
    """Call the hook, if the site has one, and return the snapshot with the hook's answer.

    :raises ArrayHookError: the hook failed. It was called for the end, too, and the VM's snapshot is removed.
    """
    if site.array_hook is None:
        return taken
    try:
        facts = _facts(session, pre, taken)
        note = PendingHook(vcenter=pre.vm.vcenter, since=now(), facts=facts)
        name = _name(taken.vm, pre.request.run)
        repository.run(AREA).store(name, to_json(note))
        answer = _call(site, facts)
        repository.run(AREA).store(name, to_json(replace(note, returned=True)))
    except BaseException:
        log.warning("VM %s: removing its snapshot, because the array hook failed", pre.vm.name)
        after_copy(site, repository, taken.vm, pre.request.run, returned=True)
        if taken.snapshot is not None:
            snapshots.remove(session, taken.vm, taken.snapshot)
        raise
    return replace(taken, luns=answer.luns)


def after_copy(
    site: Site, repository: Repository, moref: str, run: str, *, returned: bool = False
) -> VmKeepError | None:
    """Call the hook for the end of a run, if it was called for its beginning. Return the error, if that fails.

    No error is raised, because the VM's snapshot has to be removed whatever becomes of the hook.

    :param returned: the caller knows that the first call has ended.
    """
    try:
        note = _load(repository, name := _name(moref, run))
        if note is None:
            return None
        known = replace(note, returned=note.returned or returned)
        problem = _end(site, repository, known)
        if problem is not None and known != note:
            repository.run(AREA).store(name, to_json(known))  # whoever makes the call up need not wait
        return problem
    except VmKeepError as error:
        log.error("%s", error)
        return error


def after_own_copy(site: Site, moref: str, run: str) -> VmKeepError | None:
    """Call the hook for the end of a run whose copies ran in this process, also if the repository is out of reach."""
    if site.array_hook is None:
        return None
    try:
        with open_site_repository(site) as repository:
            return after_copy(site, repository, moref, run)
    except VmKeepError as error:
        return ArrayHookError(f"the array hook was not called after the copy, because its note cannot be read: {error}")


def end_left(site: Site, repository: Repository, pre: Preflight, has_ended: HasEnded) -> tuple[str, ...]:
    """Call the hook for the end of every dead run of a VM that is about to be backed up. Return warnings."""
    if site.array_hook is None:
        return ()
    left = [_end_if_dead(site, repository, note, has_ended) for note in _notes(repository, pre.vm.moref or "")]
    return tuple(str(one.problem) for one in left if one.problem is not None)


def sweep(site: Site, *, has_ended: HasEnded = nobody_knows, dry_run: bool = False) -> tuple[LeftHook, ...]:
    """Call the hook for the end of every dead run of the site's vCenter.

    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    :param dry_run: only look, and call nothing.
    """
    with open_site_repository(site) as repository:
        notes = list(_notes(repository))
        if not notes:
            return ()
        with open_vsphere(site) as session:
            here = server_uuid(session)
        return tuple(
            _end_if_dead(site, repository, note, has_ended, dry_run=dry_run) for note in notes if note.vcenter == here
        )


def _end_if_dead(
    site: Site, repository: Repository, note: PendingHook, has_ended: HasEnded, *, dry_run: bool = False
) -> LeftHook:
    if _is_alive(repository, note, has_ended):
        return LeftHook(note=note, alive=True)
    if dry_run:
        return LeftHook(note=note, alive=False)
    problem = _end(site, repository, note)
    return LeftHook(note=note, alive=False, called=problem is None, problem=problem)


def _is_alive(repository: Repository, note: PendingHook, has_ended: HasEnded) -> bool:
    return run_is_alive(repository.run(note.facts.run), note.since, now=now(), has_ended=has_ended)


def _end(site: Site, repository: Repository, note: PendingHook) -> VmKeepError | None:
    """Call the hook for the end, and forget the note. Return the error, if that fails; the note stays then."""
    try:
        if not note.returned and abs(now() - note.since) < timedelta(seconds=site.array_hook_seconds):
            raise ArrayHookError(
                f"the array hook, before the copy of VM {note.vm} (run {note.facts.run}), may still be at work though "
                "its process died, so that it is called after the copy later, by 'vmkeep vm sweep' or snapshot_sweep"
            )
        _call(site, replace(note.facts, event=HookEvent.AFTER))
        repository.run(AREA).discard(_name(note.vm.moref, note.facts.run))
    except VmKeepError as error:
        log.error("VM %s, run %s: %s", note.vm, note.facts.run, error)
        return error
    return None


def _call(site: Site, facts: HookFacts) -> HookAnswer:
    if site.array_hook is None:
        raise ArrayHookError(
            f"the array hook was called before the copy of VM {facts.vm.name} (run {facts.run}), and cannot be called "
            "after it, because VMKEEP_ARRAY_HOOK is not set on this proxy: set it as on the other proxies"
        )
    return run_hook(site.array_hook, facts, seconds=site.array_hook_seconds)


def _facts(session: Session, pre: Preflight, taken: SnapshotTaken) -> HookFacts:
    stores = read_reach(session, taken.vm, ()).stores.values()
    luns = rdms.lun_names(session, taken.vm, pre.disks)
    disks = [
        HookDisk(
            key=disk.key,
            label=disk.label,
            address=disk.address,
            file=disk.file_name,
            capacity=disk.capacity,
            copied=disk.skip is None,
            lun=luns.get(disk.key),
        )
        for disk in pre.disks
    ]
    return HookFacts(
        event=HookEvent.BEFORE,
        run=pre.request.run,
        vm=pre.vm,
        snapshot=taken.snapshot,
        datastores=tuple(
            HookStore(name=store.name, kind=store.kind, luns=store.luns, remote=store.remote) for store in stores
        ),
        disks=tuple(disks),
    )


def _notes(repository: Repository, moref: str | None = None) -> Iterator[PendingHook]:
    """Yield the notes of one VM, or all notes. One that cannot be read is only logged, because it names no array."""
    for name in repository.run(AREA).names():
        if moref is not None and not name.startswith(_digest(moref)):
            continue
        try:
            note = _load(repository, name)
        except CorruptError as error:
            log.warning("a note about an array hook is unreadable: %s", error)
            continue
        if note is not None:
            yield note


def _load(repository: Repository, name: str) -> PendingHook | None:
    try:
        return from_json(PendingHook, repository.run(AREA).load(name))
    except NotFoundError:
        return None
    except ValueError as error:
        raise CorruptError(f"the note {name} of {AREA} does not parse: {error}") from error


def _name(moref: str, run: str) -> str:
    """Return the name of a note. Its first half names the VM, so that the notes of one VM can be found."""
    return f"{_digest(moref)}-{_digest(run)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
