"""Starts the backups of a window, a few at a time, and follows them to their ends.

A run's id names its policy, window and VM. So a second try of the task finds the runs that an earlier one started, and
no VM is backed up twice in a window.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from vmkeep.flows.windows import PlannedVm, WindowPlan
from vmkeep.model.diskrule import DiskRule
from vmkeep.model.guest import FreezeFailure, GuestCommands
from vmkeep.policy import DiskPattern, Policy

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME = 80
_LONGEST_WAIT = timedelta(days=1)


class Ending(StrEnum):
    """The state of a VM's backup when its window is over."""

    DONE = "done"
    FAILED = "failed"
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


def run_id_of(plan: WindowPlan, vm: PlannedVm) -> str:
    """Return the id of a VM's run, e.g. ``nightly__20261126T210000Z__web01__vm-12``."""
    name = _NOT_PLAIN.sub("-", vm.name)[:_LONGEST_NAME]
    return f"{plan.policy}__{plan.stamp}__{name}__{_NOT_PLAIN.sub('-', vm.moref)}"


def conf_of(policy: Policy, vm: PlannedVm) -> dict[str, Any]:
    """Return the fields of ``vm_backup`` for a VM of a policy."""
    return {
        "vm": f"moref:{vm.moref}",
        "mode": policy.mode.value,
        "quiesce": policy.quiesce.value,
        "include": [_rule(pattern) for pattern in policy.disks.include],
        "exclude": [_rule(pattern) for pattern in policy.disks.exclude],
        "skipped_is_failure": policy.disks.skipped_is_failure,
        "transports": [mode.value for mode in policy.transports],
        "verify": policy.sample,
        "audit": policy.audit,
        **_guest_of(policy.guest),
        "policy": policy.name,
        "vsphere": policy.vsphere,
        "repository": policy.repository,
    }


def _guest_of(guest: GuestCommands | None) -> dict[str, Any]:
    """Return the fields of ``vm_backup`` for a policy's commands in the guest."""
    if guest is None:
        return {}
    failure = FreezeFailure.FAIL if guest.required else FreezeFailure.WARN
    return {
        "pre_freeze": guest.freeze,
        "post_thaw": guest.thaw,
        "guest": guest.login,
        "guest_seconds": guest.seconds,
        "freeze_failure": failure.value,
    }


def _rule(pattern: DiskPattern) -> str:
    """Return a policy's description of disks as the text that ``vm_backup`` takes."""
    return str(
        DiskRule(
            unit=pattern.unit,
            label=pattern.label,
            larger_than=pattern.larger_than,
            smaller_than=pattern.smaller_than,
            datastore=pattern.datastore,
        )
    )


class WindowRuns:
    """The backups of one window."""

    def __init__(self, policy: Policy, plan: WindowPlan, runs: Runs, *, log: Callable[[str], None]) -> None:
        self._policy = policy
        self._plan = plan
        self._runs = runs
        self._log = log
        self._waiting = deque(plan.vms)
        self._active: dict[str, PlannedVm] = {}
        self._outcomes: dict[str, Outcome] = {}

    def recover(self) -> None:
        """Find the runs that an earlier try of the task started."""
        for vm in list(self._waiting):
            if self._runs.state(run_id := run_id_of(self._plan, vm)) is not None:
                self._waiting.remove(vm)
                self._active[run_id] = vm

    def step(self, moment: datetime) -> bool:
        """Take note of the runs that have ended, and start others in their places.

        :returns: whether the window is over: nothing runs any more, and nothing is to be started.
        """
        self._look()
        while self._may_start(moment):
            self._start(self._waiting.popleft())
        return not self._active and not (self._waiting and moment < self._plan.closes_at)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the outcome of every VM's backup, in the order of the plan."""
        for vm in self._waiting:
            self._note(vm, Ending.NOT_STARTED, "the window closed before its turn came")
        for vm in self._active.values():
            self._note(vm, Ending.RUNNING, "it still ran when the window stopped waiting for it")
        return tuple(self._outcomes[vm.moref] for vm in self._plan.vms)

    def __str__(self) -> str:
        """Return how far it is."""
        endings = [outcome.ending for outcome in self._outcomes.values()]
        return (
            f"{endings.count(Ending.DONE)} done, {endings.count(Ending.FAILED)} failed, {len(self._active)} running, "
            f"{len(self._waiting)} waiting"
        )

    def _look(self) -> None:
        for run_id, vm in list(self._active.items()):
            state = self._runs.state(run_id)
            if state in ("success", "failed", None):
                del self._active[run_id]
                why = "" if state == "success" else "its run was deleted" if state is None else "see its run"
                self._note(vm, Ending.DONE if state == "success" else Ending.FAILED, why)

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
        run_id = run_id_of(self._plan, vm)
        note = f"{vm.name} (policy {self._policy.name}, window {self._plan.stamp})"
        refused = self._runs.start(run_id, conf_of(self._policy, vm), note)
        if refused is None:
            self._active[run_id] = vm
            self._log(f"{vm.name}: started as {run_id}")
        else:
            self._note(vm, Ending.FAILED, f"it could not be started: {refused}")

    def _note(self, vm: PlannedVm, ending: Ending, why: str) -> None:
        self._outcomes[vm.moref] = Outcome(
            moref=vm.moref, name=vm.name, run_id=run_id_of(self._plan, vm), ending=ending, why=why
        )
        self._log(f"{vm.name}: {ending}{f', because {why}' if why else ''}")


def give_up_at(plan: WindowPlan) -> datetime:
    """Return when the window stops waiting for its backups: a day after it has closed, or when the next one opens."""
    end = plan.closes_at + _LONGEST_WAIT
    return min(end, plan.next_opens_at) if plan.next_opens_at else end
