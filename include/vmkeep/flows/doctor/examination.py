"""Asks all subjects side by side. Each has a time limit, so that one dead server costs no more than that.

A thread that does not come back is left behind, because nothing can end it. It is a daemon, and its late answers count
no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from typing import Final

from vmkeep.errors import Recovery, VmKeepError
from vmkeep.flows.doctor.values import Answer, Check, Report, State
from vmkeep.lateclass import dataclass

SECONDS: Final = 120.0
"""Seconds that one subject may take by default. Each single question has a shorter limit of its own where it can."""


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
        self._asking = ""
        self._failed = ""

    def add(self, name: str, *answers: Answer) -> None:
        """Take answers to one question."""
        with self._lock:
            if self._closed:
                return
            for answer in answers:
                self._take(name, answer)

    def ask(self, name: str, question: Callable[[], Answer | Sequence[Answer]], *, needed: bool = False) -> bool:
        """Ask one question, and take its answers. Return whether there was one.

        An error becomes the answer: *not known* where a later try may succeed, else a fault.

        :param needed: no backup works without this, so that an error that may pass is a fault, too.
        """
        self._asking = name
        try:
            found = question()
        except VmKeepError as error:
            passes = error.recovery is Recovery.RETRY and not needed
            self._fail(name, State.UNKNOWN if passes else State.FAULT, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            told = f"unexpected {type(error).__name__}: {error}: please report this to vmkeep's developers"
            self._fail(name, State.FAULT if needed else State.UNKNOWN, told)
            return False
        self.add(name, *([found] if isinstance(found, Answer) else found))
        return True

    def close(self, why: str = "") -> tuple[Check, ...]:
        """Return all checks. Those that have no answer are not known.

        :param why: the reason; empty: the question that failed before is the reason.
        """
        with self._lock:
            self._closed = True
            reason = why or (f"not asked, because '{self._failed}' failed" if self._failed else "not answered")
            for name in self._missing():
                self._take(name, Answer(state=State.UNKNOWN, text=reason))
            order = {name: place for place, name in enumerate(self._subject.names)}
            return tuple(sorted(self._checks, key=lambda check: order.get(check.name, len(order))))

    def close_broken(self, why: str) -> tuple[Check, ...]:
        """Return all checks of an examination that did not come to its end: the check it ended at is a fault.

        A place that gives no answer must not look like one that cannot be asked.
        """
        with self._lock:
            missing = self._missing()
            at = self._asking if self._asking in missing else next(iter(missing), "")
            if at and not self._closed:
                self._take(at, Answer(state=State.FAULT, text=why))
        return self.close(f"not asked, because '{at}' did not come to its end")

    def _missing(self) -> list[str]:
        answered = {check.name for check in self._checks}
        return [name for name in self._subject.names if name not in answered]

    def _fail(self, name: str, state: State, told: str) -> None:
        self._failed = name
        self.add(name, Answer(state=state, text=told))

    def _take(self, name: str, answer: Answer) -> None:
        check = Check(about=self._subject.about, name=name, state=answer.state, text=answer.text, remedy=answer.remedy)
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
            self._answers.close_broken(str(told))
        finally:
            self._ended.set()

    def outcome(self, begun: float) -> tuple[Check, ...]:
        """Wait for the end, but not past the time limit; return all checks."""
        if self._ended.wait(max(0.0, begun + self._subject.seconds - time.monotonic())):
            return self._answers.close()
        return self._answers.close_broken(f"no answer within {self._subject.seconds:.0f} s")
