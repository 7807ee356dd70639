"""The values of an examination."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from vmkeep.lateclass import dataclass


class State(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """Backups go on, and something will fail or is worse than it could be."""
    FAULT = "fault"
    """Backups or restores fail."""
    UNKNOWN = "not known"
    """The question could not be asked, or was not answered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one question."""

    state: State
    text: str
    """The finding in one sentence."""
    remedy: str = ""
    """The way out for a person; empty: nothing is to be done, or the text says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one part of the installation."""

    about: str
    """The part, e.g. ``vCenter vc.example.com``."""
    name: str
    state: State
    text: str
    remedy: str = ""

    @property
    def in_words(self) -> str:
        """The whole check on one line, without the part that it is about."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{self.state}: {self.name}: {self.text}{remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks, in the order of the parts."""

    checks: tuple[Check, ...]

    @property
    def fit(self) -> bool:
        """Whether no check found a fault. What is not known is no fault, and not good either."""
        return all(check.state is not State.FAULT for check in self.checks)

    @property
    def counts(self) -> dict[str, int]:
        """The number of checks by state, also of those states that no check has."""
        found = Counter(check.state for check in self.checks)
        return {state.value: found[state] for state in State}


def ok(text: str) -> Answer:
    """Return the answer that something is as it should be."""
    return Answer(state=State.OK, text=text)


def warning(text: str, remedy: str = "") -> Answer:
    """Return the answer that something will fail, or is worse than it could be."""
    return Answer(state=State.WARNING, text=text, remedy=remedy)


def fault(text: str, remedy: str = "") -> Answer:
    """Return the answer that backups or restores fail."""
    return Answer(state=State.FAULT, text=text, remedy=remedy)


def unknown(text: str, remedy: str = "") -> Answer:
    """Return the answer that something could not be found out."""
    return Answer(state=State.UNKNOWN, text=text, remedy=remedy)
