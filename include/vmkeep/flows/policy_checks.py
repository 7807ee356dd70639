"""Chooses the checks of a policy's restore points that are due after their backups, and does them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from vmkeep.clock import now
from vmkeep.flows.check_values import Level
from vmkeep.flows.point_checks import Bars, BootTest, VerifyRequest, refs_of, verify
from vmkeep.flows.policy_copies import newest_announced
from vmkeep.flows.serving import Tell
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.policy import Policy, Verification, early_by
from vmkeep.repository import Repository
from vmkeep.repository.points import is_ahead

KIND_OF = {
    Level.WRITTEN: ProofKind.WRITTEN,
    Level.ALL: ProofKind.DIGESTS,
    Level.FILE_SYSTEMS: ProofKind.FILE_SYSTEMS,
    Level.BOOT: ProofKind.BOOT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckJob:
    """The checks of one restore point that are due."""

    point: str
    """Its ref."""
    name: str
    """The VM's name, for people."""
    levels: tuple[Level, ...] = ()
    boot_seconds: float = 600
    boot_signs: tuple[str, ...] = ("login", "screen")
    file_index: bool = False
    """Whether the names of all files are kept with the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueChecks:
    """The checks of a policy that are due."""

    jobs: tuple[CheckJob, ...]
    """One for each VM."""
    left: tuple[str, ...] = ()
    """A sentence for each VM whose point is not checked."""


def checks_due(
    repository: Repository, policy: Policy, refs: Collection[str] | None, *, at: datetime | None = None
) -> DueChecks:
    """Return the checks of a policy's newest points that are due.

    :param refs: the points that were made since the last checks, also those of other policies and repositories;
        ``None``: the newest points of all VMs of the policy are looked at, and every check of the policy is due.
    :param at: the time by which turns are counted; ``None``: now.
    """
    at = at or now()
    passed = repository.proofs.latest()
    jobs: list[CheckJob] = []
    left: list[str] = []
    for read in newest_announced(repository, refs):
        if read.point is None:
            left.append(f"{read.name.ref} is not checked, because it cannot be read: {read.problem}")
        elif read.point.policy == policy.name:
            last = {kind: proof.at for kind, proof in passed.get(read.point.vm.key, {}).items()}
            levels = tuple(_levels(repository, policy.verification, read.point, last, at, by_hand=refs is None))
            if levels or policy.verification.file_index:
                jobs.append(_job(read.point, policy.verification, levels))
    return DueChecks(jobs=tuple(jobs), left=tuple(left))


def _levels(
    repository: Repository,
    rules: Verification,
    point: RestorePoint,
    passed: Mapping[ProofKind, datetime],
    at: datetime,
    *,
    by_hand: bool,
) -> Iterator[Level]:
    """Yield the checks of one point that are due, the cheapest first.

    A check that could not tell ends a turn as one that passed does, because it would not tell tomorrow either. One that
    failed does not, so that the next point is checked at once.
    """
    turns = {Level.FILE_SYSTEMS: rules.file_systems, Level.ALL: rules.digests, Level.BOOT: rules.boot.turn}
    asked = {level: turn for level, turn in turns.items() if turn is not None}
    last = dict(passed)
    failed: set[ProofKind] = set()
    before: datetime | None = None
    if asked and not by_hand:
        for name in sorted(repository.proofs.names(point.vm.key), key=lambda name: name.at):
            if name.at >= last.get(name.kind, name.at) and not is_ahead(name.at):  # else a clock was wrong
                if name.result is ProofResult.FAILED:
                    failed.add(name.kind)
                else:
                    failed.discard(name.kind)
                    last[name.kind] = name.at
        times = (name.taken_at for name in repository.manifests.names(point.vm.key))
        before = max((each for each in times if each is not None and each < point.taken_at), default=None)
    for level, turn in asked.items():
        kind = KIND_OF[level]
        if by_hand or kind in failed or is_due(turn, last.get(kind), at, vm_key=point.vm.key, before=before):
            yield level


def is_due(turn: timedelta, last: datetime | None, at: datetime, *, vm_key: str, before: datetime | None) -> bool:
    """Return whether a check of a VM is due.

    The first checks of all VMs are spread over the days of one turn, by the keys of the VMs. Otherwise a policy that is
    new to 5,000 VMs would boot all of them on one day, and again on one day a turn later. A VM whose day came after its
    last backup has its turn with the next one, so that weekly backups leave out none.

    A later check is due up to half a day before its turn ends, because the last one ended later than it was planned.

    :param last: the time of the VM's last check of this kind; ``None``: there was none.
    :param before: the time of the VM's point before this one; ``None``: there is none.
    """
    if last is not None:
        return at - last >= turn - early_by(turn)
    days = max(1, turn.days)
    today = at.toordinal()
    if before is None:  # chance decides, because a VM that keeps one point only could miss its day for ever
        return _number(f"{vm_key} {today}") % days == 0
    since = (_number(vm_key) + today) % days
    return since == 0 or since < today - before.toordinal()


def _number(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def _job(point: RestorePoint, rules: Verification, levels: tuple[Level, ...]) -> CheckJob:
    return CheckJob(
        point=point.ref,
        name=point.vm.name,
        levels=levels,
        boot_seconds=rules.boot.seconds,
        boot_signs=rules.boot.wait_for,
        file_index=rules.file_index,
    )


def jobs_for(
    repository: Repository,
    points: Collection[str],
    selector: str,
    *,
    levels: Collection[str],
    boot_seconds: float,
    boot_signs: Collection[str],
) -> tuple[CheckJob, ...]:
    """Return the checks of points that are named, or of the newest point of each VM that a selector fits.

    A point whose manifest cannot be read has a job, too, because its check has to fail aloud.

    :param points: refs, unique beginnings of ids, or ``latest:VM``; empty: the selector tells.
    :raises NotFoundError: no point has such a name, or no VM fits.
    """
    refs = dict.fromkeys([repository.find_ref(text) for text in points] or refs_of(repository, selector))
    return tuple(
        CheckJob(
            point=ref,
            name=found.vm.name if isinstance(found, RestorePoint) else ref,
            levels=tuple(map(Level, dict.fromkeys(levels))),
            boot_seconds=boot_seconds,
            boot_signs=tuple(boot_signs),
        )
        for ref, found in repository.load_points(refs)
    )


def do_checks(
    repository: Repository,
    job: CheckJob,
    *,
    by: str,
    run: str,
    bars: Bars = lambda _label: lambda _progress: None,
    tell: Tell = lambda _line, _warning: None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[PointProof]:
    """Do the checks of a point, and yield each outcome. A check that this run has done before is not done again.

    :param run: the run, which the retries of a task share.
    :raises NotFoundError: the point is gone.
    """
    done = {proof.kind: proof for proof in repository.proofs.of(job.point) if proof.run == run}
    boot = BootTest(seconds=job.boot_seconds, wait_for=job.boot_signs)
    for level in job.levels:
        if (before := done.get(KIND_OF[level])) is not None:
            yield before
            continue
        request = VerifyRequest(level=level, boot=boot)
        yield verify(repository, job.point, request, by=by, run=run, bars=bars, tell=tell, check=check)


def index_files_of(repository: Repository, job: CheckJob, *, tell: Callable[[str], None]) -> tuple[int, list[str]]:
    """Keep the names of all files of a point with it. Return their number, and a sentence for each volume left out."""
    from vmkeep.flows.point_file_index import index_files  # takes time to import

    head = index_files(repository, job.point, tell=tell)
    return head.entries, [f"{volume.name}: {volume.problem}" for volume in head.volumes if volume.problem]
