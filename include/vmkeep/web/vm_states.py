"""Judges a VM of the fleet by its newest good point, and by its newest point if that is not good. Pure."""

from __future__ import annotations

from datetime import datetime

from vmkeep.flows.fleet import FleetVm
from vmkeep.model.wording import age
from vmkeep.web.states import VmState
from vmkeep.web.words import plain


def state_of(vm: FleetVm, now: datetime) -> VmState:
    """Judge a VM: the worst that is true of it."""
    if vm.newest is None:
        if vm.points:
            return VmState.DAMAGED
        if vm.obstacle:
            return VmState.BLOCKED
        return VmState.NEVER if vm.is_in_policy else VmState.UNPROTECTED
    if vm.is_in_policy and vm.max_age is not None and now - vm.newest > vm.max_age:
        return VmState.LATE
    if vm.failed or vm.fault is not None:
        return VmState.FAILED
    if vm.is_image:
        return VmState.IMAGE
    if not vm.is_in_policy:
        return VmState.ORPHANED if vm.asked_by else VmState.BY_HAND
    return VmState.NO_LIMIT if vm.max_age is None else VmState.IN_TIME


def detail_of(vm: FleetVm, state: VmState, now: datetime) -> str:
    """Return the reason of a state in words."""
    if state is VmState.BLOCKED:
        return plain(vm.obstacle or "")
    if vm.newest is None or vm.max_age is None:
        words = state.meaning
    else:
        passed, allowed = (now - vm.newest).total_seconds(), vm.max_age.total_seconds()
        words = f"{age(passed)} old, {age(allowed)} allowed"
    fault = fault_of(vm, now)
    return f"{words.rstrip('.')}; {fault}" if fault else words


def fault_of(vm: FleetVm, now: datetime) -> str:
    """Return everything that checks and marks say against the VM's points, in words; empty: nothing."""
    told = [f"failed, and not passed since: {plain(', '.join(vm.failed))}"] if vm.failed else []
    if vm.fault is not None:
        marks = [each for each in vm.fault.faults if each in _MARKS]
        doubts = [*(f"is {each}" for each in marks), *(["failed a check"] if len(marks) < len(vm.fault.faults) else [])]
        told.append(f"the newest point, {age((now - vm.fault.at).total_seconds())} old, {' and '.join(doubts)}")
        if vm.is_exported:
            told.append("it is not exported, and the last export stays")
    return "; ".join(told)


_MARKS = ("damaged", "suspect")
