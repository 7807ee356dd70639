"""Checks that the LVM volume groups in restore points are complete and agree with themselves: of one VM or thousands.

Only metadata is read, some kilobytes of each disk, by as many threads as the store bears. All share one index and one
cache of blocks. No point is held meanwhile: its check lasts milliseconds, and a prune deletes no block that a point
needed some hours ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field, replace
from typing import Final

from vmkeep.blobs import abreast
from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows.guest_kinds import guest_of_point
from vmkeep.flows.lvm_history import Before, same_vm
from vmkeep.flows.lvm_looks import Look, Looks
from vmkeep.flows.lvm_points import PointLvm
from vmkeep.flows.lvm_values import LvmCheck, LvmReport, LvmRequest, LvmSummary, summed
from vmkeep.flows.point_choice import (
    ChosenPoint,
    load,
    names_of_vms,
    newest_of_key,
    newest_points,
    parse_point_selector,
    points_in_order,
)
from vmkeep.flows.points import find_ref
from vmkeep.lateclass import dataclass
from vmkeep.model.job import Progress
from vmkeep.repository import Repository
from vmkeep.repository.points import PointName
from vmkeep.selection import Selector
from vmkeep.transfer import open_views

__all__ = ["LvmReport", "LvmRequest", "LvmSummary", "check_lvm", "divide", "summed"]

_PART: Final = 250
"""VMs, or points, that one process checks: some minutes of work at most."""
_CACHE: Final = 64 << 20
"""Bytes of blocks that stay in memory for all threads. A point and the one before it share most of theirs."""


def check_lvm(
    repository: Repository,
    request: LvmRequest,
    *,
    by: str,
    run: str = "",
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> LvmReport:
    """Check restore points. One that cannot be read, or is gone meanwhile, is told in the summary and stops no other.

    Nothing is written unless the request says ``mark`` or ``record``.

    :param by: the person or DAG that asks, for the proofs.
    :param run: the run that asks; empty: none does.
    :param on_progress: takes the number of VMs that are done; an error that it raises ends the call.
    :raises NotFoundError: a named point does not exist, or no VM fits the selector, or there is no point at all.
    :raises SelectorError: the selector cannot be parsed.
    :raises UsageError: the selector asks what restore points do not tell.
    """
    started = time.monotonic()
    selector = parse_point_selector(request.selector) if request.selector else None
    work = list(_work(repository, request))
    checks: list[LvmCheck] = []
    parts: list[LvmSummary] = []
    unkept: dict[str, VmKeepError] = {}
    with open_views(repository, cache_size=_CACHE) as views:
        fleet = _Fleet(repository, Looks(repository, views), request, selector, by=by, run=run)
        for number, done in enumerate(abreast(repository.blobs, fleet.check, work, computes=True), 1):
            checks += done.checks
            parts.append(done.summary)
            unkept |= done.unkept
            on_progress(Progress(phase="check", bytes_done=number, bytes_total=len(work)))
    summary = replace(summed(parts), seconds=time.monotonic() - started)
    if not (checks or summary.skipped or summary.unread):
        raise _nothing_fits(repository, request.selector)
    return LvmReport(checks=tuple(checks), summary=summary, unkept=unkept)


def divide(repository: Repository, request: LvmRequest, *, announced: Collection[str] | None) -> list[LvmRequest]:
    """Return the parts of a request that several processes can carry out; none if nothing is announced or stored.

    :param announced: refs of the points that were made since the last check, also those of other repositories;
        ``None``: the request says what is checked.
    :raises NotFoundError: no VM fits the selector.
    """
    if announced is not None:
        refs = sorted(ref for ref in repository.point_refs() if ref in announced)
        return [replace(request, refs=part) for part in _parts(refs)]
    selector = parse_point_selector(request.selector) if request.selector else None
    if selector is None:
        keys = list(names_of_vms(repository))
    else:
        keys = list(dict.fromkeys(chosen.ref.rpartition("/")[0] for chosen in newest_points(repository, selector)))
        if not keys:
            raise _nothing_fits(repository, request.selector)
    return [replace(request, keys=part) for part in _parts(keys)]


def _nothing_fits(repository: Repository, selector: str) -> NotFoundError:
    """Return the error of a selector that no VM fits, because a check of nothing would look like a good one."""
    of = f" of a VM that fits '{selector}'" if selector else ""
    return NotFoundError(f"there is no restore point{of} in {repository.location}; see 'vmkeep point list'")


def _parts(every: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from (tuple(every[at : at + _PART]) for at in range(0, len(every), _PART))


@dataclass(frozen=True, slots=True)
class _Work:
    """The points of one key that one thread checks, the oldest first."""

    key: str
    refs: tuple[str, ...] = ()
    """The points that were named; empty: those that the request means."""
    names: list[PointName] | None = None
    """The names of the key's points, if they were listed already."""


def _work(repository: Repository, request: LvmRequest) -> Iterator[_Work]:
    if request.points or request.refs:
        by_key: dict[str, set[str]] = {}
        for ref in (*(find_ref(repository, text) for text in request.points), *request.refs):
            by_key.setdefault(ref.rpartition("/")[0], set()).add(ref)
        yield from (_Work(key, tuple(sorted(refs))) for key, refs in by_key.items())
    elif request.keys is None:
        yield from (_Work(key, names=names) for key, names in names_of_vms(repository).items())
    else:
        yield from map(_Work, request.keys)


@dataclass(slots=True)
class _Done:
    """The outcome of the points of one key."""

    checks: list[LvmCheck] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    unkept: dict[str, VmKeepError] = field(default_factory=dict)

    @property
    def summary(self) -> LvmSummary:
        return LvmSummary(
            vms={check.key: check.vm for check in self.checks},
            points=len(self.checks),
            disks=sum(check.disks for check in self.checks),
            unopened={check.point: check.unopened[0] for check in self.checks if check.unopened},
            inconsistent={check.key: check.vm for check in self.checks if check.failures},
            skipped=self.skipped,
            unread=self.unread,
            unkept={ref: str(error) for ref, error in self.unkept.items()},
            marked=tuple(sorted({ref for check in self.checks for ref in check.marked})),
        )


class _Fleet:
    """Checks the points of one key after the other. Thread-safe."""

    def __init__(
        self, repository: Repository, looks: Looks, request: LvmRequest, selector: Selector | None, *, by: str, run: str
    ) -> None:
        self._repository = repository
        self._points = PointLvm(repository, looks, request, by=by, run=run)
        self._request = request
        self._selector = selector

    def check(self, work: _Work) -> _Done:
        """Check the points of one key."""
        done = _Done()
        last: Look | None = None
        for chosen in self._chosen(work, done):
            if chosen.point is None:
                done.unread[chosen.ref] = chosen.problem
                continue
            try:
                known = Before.of(last) if last is not None and same_vm(last.point, chosen.point) else None
                checked = self._points.check(chosen.point, known)
                done.checks.append(checked.check)
                if checked.unread:
                    done.unread[chosen.ref] = checked.unread
                if checked.unkept is not None:
                    done.unkept[chosen.ref] = checked.unkept
                look = checked.look
                last = look if self._request.all_points else None  # else points of the VM may lie between
            except (CorruptError, NotFoundError) as error:
                done.unread[chosen.ref] = self._why(chosen.ref, error)
        return done

    def _why(self, ref: str, error: VmKeepError) -> str:
        """Return why a point could not be checked."""
        try:
            self._repository.load_point(ref)
        except NotFoundError:
            return "it was deleted while it was checked"
        except CorruptError:
            pass
        return str(error)

    def _chosen(self, work: _Work, done: _Done) -> Iterator[ChosenPoint]:
        if work.refs:
            named = (load(self._repository, ref) for ref in work.refs)
            yield from (one for one in named if self._request.points or self._may_be_linux(one, done))
            return
        newest = newest_of_key(self._repository, self._selector, work.key, work.names)
        wanted = [chosen for chosen in newest if self._may_be_linux(chosen, done)]
        if wanted and self._request.all_points:
            yield from points_in_order(self._repository, work.key)
        else:
            yield from wanted

    def _may_be_linux(self, chosen: ChosenPoint, done: _Done) -> bool:
        """Return whether a VM is to be checked; if not, note that it is passed over."""
        point = chosen.point
        guest = guest_of_point(self._repository, point) if point is not None else None
        if point is None or guest is None or guest.may_be_linux:
            return True
        done.skipped[point.vm.key] = f"{point.vm.name} ({guest.id})"
        return False
