"""Verifies restore points: does the check that was asked for, and keeps its outcome as a proof with the point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field

from vmkeep.errors import CancelledError, CorruptError, NotFoundError, UndecidedError, VerificationError, VmKeepError
from vmkeep.flows.boot_checks import BootTest, check_boot
from vmkeep.flows.check_values import Checked, Level
from vmkeep.flows.digest_checks import Bars, check_digests
from vmkeep.flows.point_choice import newest_points, parse_point_selector
from vmkeep.flows.proving import record
from vmkeep.flows.serving import Tell
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PointProof, ProofResult
from vmkeep.model.wording import counted, counted_of
from vmkeep.qemu import find_qemu
from vmkeep.repository import Repository

__all__ = [
    "Bars", "BootTest", "Checked", "Level", "PointOutcome", "VerifyRequest", "refs_of", "require_passed", "verify",
    "verify_each",
]  # fmt: skip

SAMPLE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The check of restore points that somebody asks for."""

    level: Level
    sample: float = SAMPLE
    """The share of blocks to read, for the level ``written``."""
    boot: BootTest = field(default_factory=BootTest)


def verify(
    repository: Repository,
    text: str,
    request: VerifyRequest,
    *,
    by: str,
    run: str = "",
    bars: Bars = lambda _label: lambda _progress: None,
    tell: Tell = lambda _line, _warning: None,
    check: Callable[[], None] = lambda: None,
    on_wait: Callable[[float], None] = lambda _left: None,
) -> PointProof:
    """Check a point, and keep the outcome with it. While it lasts, nobody deletes the point.

    :param text: names the point: its ref, the unique beginning of its id, or ``latest:VM``.
    :param by: the person or the DAG that asks.
    :param run: the run that does it; empty: a command does.
    :param bars: makes the function that takes the progress of a disk, from its label.
    :param tell: takes lines for people, and whether they are warnings.
    :param check: called now and then. An error that it raises ends the check, and leaves no proof.
    :param on_wait: gets the seconds for which a boot test waits at most from now on.
    :raises NotFoundError: there is no such point.
    :raises CorruptError: its manifest is damaged, so that there is nothing to check and nothing to restore.
    :raises UnsupportedError: a program that the check needs is not installed here, which says nothing about the point.
    """
    point = repository.find_point(text)
    with repository.uses.open(point.ref, doing="verifying") as use:

        def go_on() -> None:
            check()
            use.check()

        match request.level:
            case Level.WRITTEN | Level.ALL:
                share = 1.0 if request.level is Level.ALL else request.sample
                checked = check_digests(repository, point, sample=share, bars=bars, check=go_on)
            case Level.FILE_SYSTEMS:
                checked = _file_systems(repository, point)
            case Level.BOOT:
                checked = check_boot(repository, point.ref, request.boot, tell=tell, check=go_on, on_wait=on_wait)
        return record(repository, point.ref, checked, by=by, run=run)


def _file_systems(repository: Repository, point: RestorePoint) -> Checked:
    from vmkeep.flows.file_system_checks import check_file_systems

    return check_file_systems(repository, point)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOutcome:
    """The outcome of the check of one of several points."""

    point: str
    """Its ref; or, if it could not be found, the text by which it was asked for."""
    proof: PointProof | None = None
    """``None``: the check could not be done."""
    error: VmKeepError | None = None
    """Why not."""

    @property
    def problem(self) -> str:
        """Why the check could not be done, or its outcome not be kept; empty: it was done."""
        return str(self.error) if self.error else ""


def refs_of(repository: Repository, selector: str) -> list[str]:
    """Return the newest point of each VM that a selector fits.

    :raises SelectorError: it cannot be parsed.
    :raises UsageError: restore points do not tell what it asks.
    :raises NotFoundError: no VM fits.
    """
    found = [chosen.ref for chosen in newest_points(repository, parse_point_selector(selector))]
    if not found:
        raise NotFoundError(f"no VM with a restore point in {repository.location} fits '{selector}'")
    return found


def verify_each(
    repository: Repository,
    points: Iterable[str],
    request: VerifyRequest,
    *,
    by: str,
    run: str = "",
    bars: Bars = lambda _label: lambda _progress: None,
    tell: Tell = lambda _line, _warning: None,
    on_done: Callable[[PointOutcome], None] = lambda _outcome: None,
) -> tuple[PointOutcome, ...]:
    """Check several points, one after the other. A point that cannot be checked keeps no other from it.

    :param on_done: gets each outcome when it is there.
    :raises UnsupportedError: a program that the check needs is not installed here.
    """
    if request.level is Level.BOOT:
        find_qemu()
    outcomes = []
    for point in points:
        try:
            proof = verify(repository, point, request, by=by, run=run, bars=bars, tell=tell)
            outcome = PointOutcome(point=proof.point, proof=proof)
        except CancelledError:
            raise
        except VmKeepError as error:
            outcome = PointOutcome(point=point, error=error)
        outcomes.append(outcome)
        on_done(outcome)
    return tuple(outcomes)


def require_passed(outcomes: Iterable[PointOutcome]) -> None:
    """Return if all checks passed.

    :raises VerificationError: a check failed.
    :raises VmKeepError: none failed, and a point could not be checked: the first error that tells of damage, or else
        the first one.
    :raises UndecidedError: none of both, and a check could not tell.
    """
    all_of_them = tuple(outcomes)
    results = [outcome.proof.result for outcome in all_of_them if outcome.proof is not None]
    failed, undecided = results.count(ProofResult.FAILED), results.count(ProofResult.UNDECIDED)
    errors = [outcome.error for outcome in all_of_them if outcome.error is not None]
    if failed:
        raise VerificationError(f"{counted_of(failed, len(all_of_them), 'restore point')} did not pass")
    if errors:
        worst = next((error for error in errors if isinstance(error, CorruptError)), errors[0])
        worst.args = (f"{counted(len(errors), 'restore point')} could not be checked: {worst}",)
        raise worst
    if undecided:
        raise UndecidedError(f"of {counted(undecided, 'restore point')} the check cannot tell whether it is good")
