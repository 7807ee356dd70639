"""``vmkeep backup run -s``: back up every VM that fits a selector, and say how each of them ended."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Event, Lock, Thread

import click

from vmkeep.cli.bars import Bars, progress_bars
from vmkeep.cli.failures import Ending, ending_of
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.errors import Recovery, SomeFailedError
from vmkeep.flows.backup_values import BackupRequest, Sealed, VerifyReport
from vmkeep.flows.complete_runs import run_backup
from vmkeep.flows.stopping import Stop
from vmkeep.flows.vm_groups import Group, choose_group
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import Logins
from vmkeep.model.job import to_plain
from vmkeep.model.selector import shown_name
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import counted_of, size
from vmkeep.selection import parse_selector

_NAMED = 5
"""Failed VMs that the last line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """The end of one VM's backup."""

    vm: VmRef
    seconds: float
    done: tuple[Sealed, VerifyReport] | None = None
    failure: Ending | None = None


def run_group(
    site: Site, selector: str, request: BackupRequest, *, verify: float, parallel: int, as_json: bool, logins: Logins
) -> None:
    """Back up a group, the VM with the oldest good point first, some at the same time; no failure stops the others.

    :param request: the wishes for each VM; its selector and its run are replaced.
    :param parallel: how many VMs are backed up at the same time.
    :param logins: returns the guests' user for commands in them.
    :raises NotFoundError: no VM fits.
    :raises SomeFailedError: not every backup succeeded.
    """
    group = choose_group(site, parse_selector(selector))
    for note in group.notes:
        warn(note)
    for vm, managed_by in group.managed:
        warn(f"{vm} is left out, because {managed_by} manages it; 'vmkeep backup run moref:{vm.moref}' backs it up")
    backups = _Backups(group)
    try:
        with progress_bars(hidden=as_json) as bars:
            backups.run(parallel, partial(_back_up, site, request, verify, bars, logins))
    finally:  # an interrupt leaves a summary of all that was done, too
        _summarise(group, backups.results, as_json=as_json)
    _end(backups.results)


class _Backups:
    """The backups of a group, each in the thread that is free first."""

    def __init__(self, group: Group) -> None:
        self._vms = group.vms
        self._waiting = deque(group.vms)
        self._results: dict[str, _Result] = {}
        self._lock = Lock()
        self._stop = Stop()

    @property
    def results(self) -> list[_Result]:
        """The backups that have ended, in the order of the group."""
        with self._lock:
            return [self._results[vm.moref] for vm in self._vms if vm.moref in self._results]

    def run(self, parallel: int, work: Callable[[VmRef, Stop], _Result]) -> None:
        """Back up all VMs. An interrupt stops the backups that run, and waits until they have cleaned up."""
        # Daemons, because a second interrupt ends the program without waiting for them.
        ends = [Event() for _ in range(min(parallel, len(self._vms)))]
        for end in ends:
            Thread(target=self._help, args=(work, end), daemon=True).start()
        try:
            _await(ends)
        except KeyboardInterrupt:
            warn("stopping: the backups that run are cancelled, and remove their snapshots; interrupt again to end now")
            self._stop.ask()
            _await(ends)
            raise

    def _help(self, work: Callable[[VmRef, Stop], _Result], end: Event) -> None:
        try:
            while (vm := self._next()) is not None:
                result = work(vm, self._stop)
                with self._lock:
                    self._results[vm.moref] = result
                    _tell(result, f"{len(self._results)} of {len(self._vms)}")
        finally:
            end.set()

    def _next(self) -> VmRef | None:
        with self._lock:
            return None if self._stop.asked or not self._waiting else self._waiting.popleft()


def _await(ends: Sequence[Event]) -> None:
    """Wait for every thread. An interrupted ``join`` of Python before 3.13 takes a thread that runs for ended."""
    for end in ends:
        end.wait()


def _back_up(
    site: Site, request: BackupRequest, verify: float, bars: Bars, logins: Logins, vm: VmRef, stop: Stop
) -> _Result:
    started = time.monotonic()
    one = replace(request, vm_selector=f"moref:{vm.moref}", run=f"cli-{uuid.uuid4().hex[:12]}")
    done, failure = None, None
    try:
        with bars.of(shown_name(vm.name)) as own:
            done = run_backup(
                site, one, bars=own, announce=lambda text: warn(f"{vm}: {text}"), verify=verify, logins=logins,
                stop=stop,
            )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one VM, the others are backed up
        failure = ending_of(error)
    return _Result(vm=vm, seconds=round(time.monotonic() - started, 3), done=done, failure=failure)


def _tell(result: _Result, number: str) -> None:
    end = result.done[0].point if result.done else f"failed: {result.failure.line if result.failure else ''}"
    click.echo(one_line(f"{number}: {shown_name(result.vm.name)}: {end}"), err=True)


def _summarise(group: Group, results: Sequence[_Result], *, as_json: bool) -> None:
    begun = {result.vm.moref for result in results}
    left = [vm for vm in group.vms if vm.moref not in begun]
    if as_json:
        print_json(
            {
                "vms": [_document(result) for result in results],
                "not_started": [to_plain(vm) for vm in left],
                "left_out": [{**to_plain(vm), "managed_by": managed_by} for vm, managed_by in group.managed],
            }
        )
        return
    rows = [*map(_row, results), *((vm.moref, shown_name(vm.name), "not started", "", "", "") for vm in left)]
    print_table(("moref", "name", "end", "point", "read", "stored"), rows, none="no VM is selected")


def _document(result: _Result) -> dict[str, object]:
    document: dict[str, object] = {**to_plain(result.vm), "duration_seconds": result.seconds}
    if result.done is not None:
        sealed, report = result.done
        return {**document, "state": "done", **to_plain(sealed), "verified_bytes": report.bytes_checked}
    failure = result.failure
    assert failure is not None
    told = {"error": failure.line, "class": failure.kind, "recovery": failure.recovery, "exit_code": failure.exit_code}
    return {**document, "state": "failed", **told}


def _row(result: _Result) -> tuple[str, ...]:
    name = (result.vm.moref, shown_name(result.vm.name))
    if result.done is None:
        return (*name, f"failed ({result.failure.kind if result.failure else ''})", "", "", "")
    sealed = result.done[0]
    return (*name, f"{sealed.kind} backup", sealed.point, size(sealed.bytes_read), size(sealed.bytes_stored))


def _end(results: Sequence[_Result]) -> None:
    failed = [(result.vm, result.failure) for result in results if result.failure is not None]
    if not failed:
        return
    names = ", ".join(shown_name(vm.name) for vm, _ in failed[:_NAMED]) + (" …" if len(failed) > _NAMED else "")
    may_help = all(failure.recovery is Recovery.RETRY for _, failure in failed)
    raise SomeFailedError(
        f"{counted_of(len(failed), len(results), 'VM')} could not be backed up: {names}",
        recovery=Recovery.RETRY if may_help else Recovery.STOP,
    )
