"""The page of the policies: the rules of each in words, its VMs by state, and its faults at their lines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from vmkeep.flows.fleet import Fleet
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, counted
from vmkeep.policy import Policy, PolicyFile, Verification
from vmkeep.web.fleet import StateCount
from vmkeep.web.looks import not_known
from vmkeep.web.states import VmState
from vmkeep.web.vm_states import state_of
from vmkeep.web.words import Moment, moment, plain

WINDOW: Final = "backup_window_"
"""The beginning of the id of the DAG of each policy's windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of a policy."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy on the page."""

    name: str
    file: str
    faults: tuple[str, ...]
    """Each with line and column; empty: the policy counts."""
    description: str = ""
    next_opening: Moment | None = None
    next_end: Moment | None = None
    off: tuple[str, ...] = ()
    """Its DAGs that are switched off, as each new one is."""
    is_example: bool = False
    """It is the example that comes with vmkeep."""
    rules: tuple[PolicyRule, ...] = ()
    states: tuple[StateCount, ...] = ()
    """Its VMs by their state."""

    @property
    def vms(self) -> int:
        """The number of its VMs."""
        return sum(each.vms for each in self.states)

    @property
    def is_off(self) -> bool:
        """Whether no window of it opens, because the window's DAG is switched off."""
        return any(each.startswith(WINDOW) for each in self.off)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesPage:
    """Everything on the page."""

    rows: tuple[PolicyRow, ...]
    bare: int
    """VMs that no policy without faults has."""
    unknown: str
    """The facts that no look has noted yet, in words; empty: all are."""
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        faulty = sum(bool(row.faults) for row in self.rows)
        words = [counted(len(self.rows), "policy", "policies")]
        words.append(f", {faulty:,} with faults, by which nothing is backed up" if faulty else "")
        off = sum(row.is_off and not row.is_example for row in self.rows)
        words.append(f", {off:,} switched off" if off else "")
        words.append(
            f"; {'at least ' if self.unknown else ''}{counted(self.bare, 'VM')} without one" if self.bare else ""
        )
        words.append(f"; {self.unknown}" if self.unknown else "")
        return "".join(words) + "."


def policies_page(
    files: Sequence[PolicyFile], fleet: Fleet, *, off: Mapping[str, Sequence[str]], now: datetime
) -> PoliciesPage:
    """Return the page.

    :param files: every policy file, those with faults as well.
    :param off: the ids of the DAGs that are switched off, by policy; those of its windows begin with :data:`WINDOW`.
    """
    states: dict[str, Counter[VmState]] = {}
    bare = 0
    for vm in fleet.vms:
        if vm.is_in_policy:
            states.setdefault(vm.policy, Counter())[state_of(vm, now)] += 1
        else:
            bare += 1
    rows = [_row(read, states.get(read.policy.name if read.policy else "", Counter()), off, now) for read in files]
    rows.sort(key=lambda row: (not row.faults, row.name))
    return PoliciesPage(rows=tuple(rows), bare=bare, unknown=not_known(fleet), problems=fleet.problems)


def _row(read: PolicyFile, states: Counter[VmState], off: Mapping[str, Sequence[str]], now: datetime) -> PolicyRow:
    policy = read.policy
    if policy is None:
        faults = (f"line {each.place.line}, column {each.place.column}: {each.message}" for each in read.faults)
        return PolicyRow(name=plain(read.path.stem), file=plain(read.path.name), faults=tuple(map(plain, faults)))
    opening = policy.window.next_opening(now)
    return PolicyRow(
        name=policy.name,
        file=plain(read.path.name),
        faults=(),
        description=plain(policy.description),
        next_opening=moment(opening.opens_at, now) if opening else None,
        next_end=moment(opening.closes_at, now) if opening else None,
        off=tuple(off.get(policy.name, ())),
        is_example=read.is_example,
        rules=tuple(PolicyRule(name=name, text=plain(text)) for name, text in _rules(policy) if text),
        states=tuple(StateCount(state=state, vms=states[state]) for state in VmState if states[state]),
    )


def _rules(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield the rules that people ask for, each in words; an empty text: the policy says nothing of it."""
    yield "VMs", str(policy.selection)
    yield "but not", ", ".join(map(str, policy.exclusions))
    yield "priority", f"{policy.priority}: of several policies that select a VM, the greatest takes it"
    yield "window", f"{policy.window}; backups that still run at its end {_at_end(policy)}"
    yield "at most", f"{counted(policy.backups_at_once, 'VM')} at once"
    yield "late from", f"{_span(policy.max_age)} without a good point" if policy.max_age else "never: no max_age"
    yield "kept", str(policy.retention) if policy.retention else "by the rule of the repository's connection"
    yield "repository", policy.repository
    yield "copies in", ", ".join(policy.copies)
    yield "exported to", ", ".join(f"{each.out} ({each.format})" for each in policy.exports)
    yield "checked", ", ".join(_checks(policy.verification)) or "no more than each backup checks by itself"
    yield "proof", _proof(policy.verification)
    yield "vCenter", policy.vsphere
    yield "owner", policy.owner
    yield "people told", ", ".join((*policy.notifications.to, *policy.notifications.notifiers))


def _at_end(policy: Policy) -> str:
    return "come to their end" if policy.at_end == "finish" else "are stopped"


def _checks(wish: Verification) -> Iterator[str]:
    for name, turn in (("file systems", wish.file_systems), ("every block", wish.digests), ("boot", wish.boot.turn)):
        if turn is not None:
            yield f"{name} {f'every {_span(turn)}' if turn else 'after each backup'}"
    if wish.malware != "none":
        yield f"malware in {'all' if wish.malware == 'all' else 'changed'} files after each backup"
    if wish.file_index:
        yield "names of all files are kept"


def _proof(wish: Verification) -> str:
    if wish.proved_within is None:
        return ""
    return f"an alarm from {_span(wish.proved_within)} without a proof by {wish.proved_by.value} or better"


def _span(span: timedelta) -> str:
    return age(span.total_seconds())
