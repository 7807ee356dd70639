"""Asks all subjects side by side. Each has a time limit, so that one dead server costs no more than that.

A thread that does not come back is left behind, because nothing can end it. It is a daemon, and its late answers count
no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Final

from vmkeep.errors import Recovery, VmKeepError
from vmkeep.flows.doctor.values import Answer, Check, Report, State

SECONDS: Final = 120.0
"""Seconds that one subject may take by default. Each single question has a shorter limit of its own where it can."""
_BEFORE_ANY = "its first question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A part of the installation, with the names of its checks and the function that answers them."""

    about: str
    names: tuple[str, ...]
    """Each of these gets an answer, whatever happens."""
    ask: Callable[[Answers], None]
    seconds: float = SECONDS


class Answers:
    """Collects the answers about one subject. After its end, it takes no more."""

    def __init__(self, subject: Subject, on_check: Callable[[Check], None]) -> None:
        self._subject = subject
        self._on_check = on_check
        self._checks: list[Check] = []
        self._lock = Lock()
        self._closed = False
        self._asking = _BEFORE_ANY
        self._failed = ""

    def add(self, name: str, *answers: Answer) -> None:
        """Take answers to one question. The first name of a fault explains why later questions were not asked."""
        with self._lock:
            if self._closed:
                return
            for answer in answers:
                self._take(name, answer)

    def ask(self, name: str, question: Callable[[], Answer | Sequence[Answer]], *, needed: bool = False) -> bool:
        """Ask one question, and take its answers. Return whether there was one.

        An error becomes the answer: *not known* where a later try may succeed, else a fault.

        :param needed: nothing of this subject works without this, so that an error that may pass is a fault, too.
        """
        self._asking = name
        try:
            found = question()
        except VmKeepError as error:
            passes = error.recovery is Recovery.RETRY and not needed
            self.add(name, Answer(state=State.UNKNOWN if passes else State.FAULT, text=str(error)))
            return False
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            told = f"unexpected {type(error).__name__}: {error}: please report this to vmkeep's developers"
            self.add(name, Answer(state=State.UNKNOWN, text=told))
            return False
        self.add(name, *([found] if isinstance(found, Answer) else found))
        return True

    def close(self, why: str = "") -> tuple[Check, ...]:
        """Return all checks. Those that have no answer are not known.

        :param why: the reason; empty: the check that failed before is the reason.
        """
        with self._lock:
            self._closed = True
            answered = {check.name for check in self._checks}
            reason = why or (f"not asked, because '{self._failed}' failed" if self._failed else "not answered")
            for name in self._subject.names:
                if name not in answered:
                    self._take(name, Answer(state=State.UNKNOWN, text=reason))
            order = {name: place for place, name in enumerate(self._subject.names)}
            return tuple(sorted(self._checks, key=lambda check: order.get(check.name, len(order))))

    def close_late(self) -> tuple[Check, ...]:
        """Return all checks after the time limit."""
        return self.close(f"no answer within {self._subject.seconds:.0f} s; the examination hung at '{self._asking}'")

    def _take(self, name: str, answer: Answer) -> None:
        check = Check(about=self._subject.about, name=name, state=answer.state, text=answer.text, remedy=answer.remedy)
        if answer.state is State.FAULT and not self._failed:
            self._failed = name
        self._checks.append(check)
        self._on_check(check)


def examine(subjects: Sequence[Subject], on_check: Callable[[Check], None] = lambda _check: None) -> Report:
    """Examine all subjects at once, and return every check.

    :param on_check: called with each check as it comes, in other threads.
    """
    begun = time.monotonic()
    running = [_Running(subject, on_check) for subject in subjects]
    for one in running:
        one.start()
    return Report(checks=tuple(check for one in running for check in one.outcome(begun)))


class _Running(Thread):
    """The examination of one subject."""

    def __init__(self, subject: Subject, on_check: Callable[[Check], None]) -> None:
        super().__init__(name=f"doctor {subject.about}", daemon=True)
        self._subject = subject
        self._answers = Answers(subject, on_check)
        self._ended = Event()

    def run(self) -> None:
        """Ask all questions."""
        try:
            self._subject.ask(self._answers)
        except Exception as error:  # noqa: BLE001 - it becomes the reason of the missing answers
            told = error if isinstance(error, VmKeepError) else f"unexpected {type(error).__name__}: {error}"
            self._answers.close(f"not asked: {told}")
        finally:
            self._ended.set()

    def outcome(self, begun: float) -> tuple[Check, ...]:
        """Wait for the end, but not past the time limit; return all checks."""
        if self._ended.wait(max(0.0, begun + self._subject.seconds - time.monotonic())):
            return self._answers.close()
        return self._answers.close_late()
