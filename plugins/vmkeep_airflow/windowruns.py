"""Starts the backups of a window, a few at a time, and follows them to their ends.

A run's id names its policy, window and VM. So a second try of the task finds the runs that an earlier one started, and
no VM is backed up twice in a window.

A backup that failed for a cause that a fresh start can heal is started once more, after the others: its VM has changed
meanwhile, or a server did not answer for long. If somebody clears the window, all backups that failed are started
again. Each is a run of its own, whose id has a number. The first pass of a window has the numbers 0 and 1, and the pass
after the first clear has 2 and 3.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from vmkeep.flows.windows import PlannedVm, WindowPlan
from vmkeep.policy import AtEnd, Policy
from vmkeep_airflow.vmruns import conf_of, run_id_of

_LONGEST_WAIT = timedelta(days=1)
_RUNS = 2
"""Runs of one VM in one pass of a window, if the first one fails."""
_SHOWN = 300
"""Characters of a cause that the note of the next run repeats."""


class Ending(StrEnum):
    """The state of a VM's backup when its window is over."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """It had not ended well when the window closed, and the policy lets no backup go on then."""
    NOT_STARTED = "not started"
    """The window closed before its turn came."""
    RUNNING = "running"
    """It still runs when the window stops waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The backup of one VM in a window."""

    moref: str
    name: str
    run_id: str
    ending: Ending
    why: str = ""
    again: int = 0
    """How often the window has started the backup once more."""
    last_failure: str = ""
    """The cause for which it was started once more."""
    lies: int = 0
    """Number of blocks that had changed although change tracking denied it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The failure of a run."""

    why: str
    heals: bool
    """A fresh start can heal it."""


class Runs(Protocol):
    """The DAG runs that back up a VM each."""

    def start(self, run_id: str, conf: dict[str, Any], note: str) -> str | None:
        """Start a run; one of that id that exists already is left as it is.

        :returns: the reason why Airflow refuses it; ``None``: it runs.
        """
        ...

    def state(self, run_id: str) -> str | None:
        """Return the state of a run; ``None``: there is none."""
        ...

    def failure(self, run_id: str) -> Failure | None:
        """Return why a run has failed; ``None``: no task has left a cause, e.g. because somebody ended the run."""
        ...

    def lies(self, run_id: str) -> int:
        """Return the number of blocks about which change tracking has lied to a run that is done."""
        ...


class WindowRuns:
    """The backups of one window.

    :param clears: how often somebody has cleared the window.
    """

    def __init__(
        self, policy: Policy, plan: WindowPlan, runs: Runs, *, log: Callable[[str], None], clears: int = 0
    ) -> None:
        self._policy = policy
        self._plan = plan
        self._runs = runs
        self._log = log
        self._first = clears * _RUNS
        self._begun: Counter[str] = Counter()
        """The number of runs in this pass, by managed object id."""
        self._failures: dict[str, str] = {}
        """The last cause for which a VM waits for a fresh start, or had one, by managed object id."""
        self._waiting = deque(plan.vms)
        self._active: dict[str, PlannedVm] = {}
        self._proxies: dict[str, str] = {}
        self._outcomes: dict[str, Outcome] = {}

    def recover(self) -> None:
        """Find the runs that an earlier try of the task started. Those that failed before the last clear count as none.

        A VM's newest run counts, because a backup is started again only after the one before has failed.
        """
        for vm in list(self._waiting):
            for number in range(self._first + _RUNS - 1, -1, -1):
                run_id = run_id_of(self._plan, vm, number=number)
                state = self._runs.state(run_id)
                if state is None:
                    continue
                if state != "failed" or number >= self._first:
                    self._waiting.remove(vm)
                    self._active[run_id] = vm
                    self._begun[vm.moref] = max(0, number + 1 - self._first)
                break

    def step(self, moment: datetime) -> bool:
        """Take note of the runs that have ended, and start others in their places.

        :returns: whether the window is over: nothing runs any more, and nothing is to be started.
        """
        self._look(moment)
        while self._may_start(moment):
            self._start(self._waiting.popleft())
        return not self._active and not (self._waiting and moment < self._plan.closes_at)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the outcome of every VM's backup, in the order of the plan."""
        for vm in self._waiting:
            if failure := self._failures.get(vm.moref):
                why = f"{failure}; the window closed before it could be started again"
                self._note(vm, Ending.FAILED, why, self._run_id(vm, self._begun[vm.moref] - 1))
            else:
                self._note(vm, Ending.NOT_STARTED, "the window closed before its turn came", self._run_id(vm, 0))
        for run_id, vm in self._active.items():
            self._note(vm, Ending.RUNNING, "it still ran when the window stopped waiting for it", run_id)
        return tuple(self._outcomes[vm.moref] for vm in self._plan.vms)

    def __str__(self) -> str:
        """Return how far it is."""
        endings = [outcome.ending for outcome in self._outcomes.values()]
        return (
            f"{endings.count(Ending.DONE)} done, {endings.count(Ending.FAILED)} failed, {len(self._active)} running, "
            f"{len(self._waiting)} waiting"
        )

    def _look(self, moment: datetime) -> None:
        for run_id, vm in list(self._active.items()):
            state = self._runs.state(run_id)
            if state not in ("success", "failed", None):
                continue
            del self._active[run_id]
            if state == "success":
                self._note(vm, Ending.DONE, "", run_id, lies=self._runs.lies(run_id))
            elif self._policy.at_end is AtEnd.STOP and moment >= self._plan.closes_at:
                self._note(vm, Ending.STOPPED, "it had not ended well when the window closed; see its run", run_id)
            elif state is None:
                self._note(vm, Ending.FAILED, "its run was deleted", run_id)
            else:
                self._failed(vm, run_id, moment)

    def _failed(self, vm: PlannedVm, run_id: str, moment: datetime) -> None:
        """Let a VM wait for a fresh start, if that can heal its failure and the window is still open."""
        failure = self._runs.failure(run_id)
        begun = max(1, self._begun[vm.moref])  # a run of an earlier pass may have gone on into this one
        if failure is None or not failure.heals or begun >= _RUNS or moment >= self._plan.closes_at:
            self._note(vm, Ending.FAILED, failure.why if failure else "see its run", run_id)
            return
        self._begun[vm.moref] = begun
        self._failures[vm.moref] = failure.why
        self._waiting.append(vm)
        self._log(f"{vm.name}: failed, and is started once more after the others: {failure.why}")

    def _may_start(self, moment: datetime) -> bool:
        if not self._waiting or moment >= self._plan.closes_at or len(self._active) >= self._policy.backups_at_once:
            return False
        return moment >= self._turn() if self._plan.spread else True

    def _turn(self) -> datetime:
        """Return when the next VM's turn comes, if all of them are spread over the window."""
        length = self._plan.closes_at - self._plan.opens_at
        gone = len(self._plan.vms) - len(self._waiting)
        return self._plan.opens_at + length * gone / max(len(self._plan.vms), 1)

    def _start(self, vm: PlannedVm) -> None:
        run_id = self._run_id(vm, self._begun[vm.moref])
        failure = self._failures.get(vm.moref)
        again = f"; started once more, because the run before failed: {failure[:_SHOWN]}" if failure else ""
        note = f"{vm.name} (policy {self._policy.name}, window {self._plan.stamp}{again})"
        conf = conf_of(self._policy, self._plan, vm)
        refused, proxy = None, ""
        for proxy in self._proxies_for(vm):
            refused = self._runs.start(run_id, conf | ({"proxy": proxy} if proxy else {}), note)
            if refused is None:
                break
            self._log(f"{vm.name}: not started on {proxy or 'any proxy'}: {refused}")
        if refused is None:
            self._begun[vm.moref] += 1
            self._active[run_id] = vm
            self._proxies[run_id] = proxy
            self._log(f"{vm.name}: started as {run_id}{f' on {proxy}' if proxy else ''}")
        else:
            self._note(vm, Ending.FAILED, f"it could not be started: {refused}", run_id)

    def _proxies_for(self, vm: PlannedVm) -> list[str]:
        """Return the proxies that reach a VM best, the one with the fewest runs of this window first; then any one.

        Airflow refuses a proxy that has left its list since the plan was made. The VM is backed up all the same.
        """
        busy = Counter(self._proxies.get(run_id, "") for run_id in self._active)
        return [*sorted(vm.proxies, key=lambda name: busy[name]), ""]

    def _run_id(self, vm: PlannedVm, begun: int) -> str:
        """Return the id of a VM's run after some others in this pass."""
        return run_id_of(self._plan, vm, number=self._first + begun)

    def _note(self, vm: PlannedVm, ending: Ending, why: str, run_id: str, *, lies: int = 0) -> None:
        self._outcomes[vm.moref] = Outcome(
            moref=vm.moref,
            name=vm.name,
            run_id=run_id,
            ending=ending,
            why=why,
            again=max(0, self._begun[vm.moref] - 1),
            last_failure=self._failures.get(vm.moref, ""),
            lies=lies,
        )
        self._log(f"{vm.name}: {ending}{f', because {why}' if why else ''}")


def give_up_at(plan: WindowPlan) -> datetime:
    """Return when the window stops waiting for its backups: a day after it has closed, or when the next one opens."""
    end = plan.closes_at + _LONGEST_WAIT
    return min(end, plan.next_opens_at) if plan.next_opens_at else end
