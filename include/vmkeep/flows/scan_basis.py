"""Chooses what a malware scan stands on: all files of a point, or those that differ from an older, clean point."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.flows.clean_points import Cleanness, ScanState, ScanStates, last_clean_of
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.scanfacts import ScanScope
from vmkeep.repository import Repository

MOST_LINKS: Final = 30
"""Scans of changed files that may stand on one another. The next one looks at all files again, because the signatures
know more by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWish:
    """The wish for a scan."""

    changed: bool = False
    """Only the files that differ from the VM's last clean point before this one; all files if there is none."""
    since: str | None = None
    """Only the files that differ from this older point of the VM."""
    volumes: tuple[str, ...] = ()
    """Only these volumes; empty: all."""

    def __post_init__(self) -> None:
        """Refuse wishes that exclude each other."""
        if self.changed and self.since is not None:
            raise UsageError("--changed chooses the older point itself: leave out --changed-since, or --changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanBasis:
    """The older points on which a scan stands, or the reason why it looks at all files."""

    scope: ScanScope
    since: str | None = None
    chain: tuple[str, ...] = ()
    """The clean points on which the outcome stands, the newest first."""
    whole_at: datetime | None = None
    left: int = 0
    """Files that the scans of those points left out."""
    notes: tuple[str, ...] = ()


def choose_basis(repository: Repository, point: RestorePoint, wish: ScanWish) -> ScanBasis:
    """Choose all files of a point, or those that differ from an older one.

    :raises NotFoundError: there is no such older point.
    :raises UsageError: the older point is of another VM, or not older.
    """
    if wish.volumes:
        since = _older(repository, point, wish.since) if wish.since else None
        return ScanBasis(scope=ScanScope.PART, since=since)
    if not wish.changed and wish.since is None:
        return ScanBasis(scope=ScanScope.WHOLE)
    states = ScanStates(repository, point.vm.key)
    if wish.since is not None:
        since = _older(repository, point, wish.since)
        state = states.of(since)
        if states.is_infected(point.ref) or state.cleanness is not Cleanness.CLEAN:
            note = f"no point is clean by this scan, because {since} is not known to be clean"
            return ScanBasis(scope=ScanScope.CHANGED, since=since, notes=(note,))
        return _changed(state)
    if states.is_infected(point.ref):
        return _whole("malware was found in this point before")
    last = last_clean_of(repository, point.vm.key, before=point.taken_at).clean
    if last is None:
        return _whole("the VM has no older point that is known to be clean")
    if len(last.chain) >= MOST_LINKS:
        return _whole(f"{MOST_LINKS} scans of changed files stand on one another")
    return _changed(last)


def _older(repository: Repository, point: RestorePoint, text: str) -> str:
    """Return the ref of an older point of the same VM.

    :raises UsageError: it is of another VM, or not older.
    """
    older = repository.find_point(text)
    if older.vm.key != point.vm.key:
        raise UsageError(f"{older.ref} is a point of VM {older.vm.name}, and {point.ref} one of {point.vm.name}")
    if older.taken_at >= point.taken_at:
        raise UsageError(f"{older.ref} is not older than {point.ref}")
    return older.ref


def _whole(why: str) -> ScanBasis:
    return ScanBasis(scope=ScanScope.WHOLE, notes=(f"all files were scanned, and not only those that changed: {why}",))


def _changed(clean: ScanState) -> ScanBasis:
    return ScanBasis(
        scope=ScanScope.CHANGED,
        since=clean.point,
        chain=(clean.point, *clean.chain),
        whole_at=clean.whole_at,
        left=clean.left,
    )
