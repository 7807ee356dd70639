"""Airflow shows the holders of the limits, and the work that waits, while a window is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmkeep.errors import UnreachableError
from vmkeep.model.limits import Limit, Usage
from vmkeep_airflow.limitwatch import LimitWatch

BEGUN = datetime(2026, 6, 8, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NFC = Limit(key="nfc/1", name="NFC sessions of host esx03", most=2)


class Repository:
    """The use of limits, as somebody sets it."""

    def __init__(self) -> None:
        self.now: list[Usage] | None = []
        self.asked = 0

    def usages(self):
        self.asked += 1
        if self.now is None:
            raise UnreachableError("the repository does not answer")
        return self.now


def test_what_has_changed_is_shown_once_a_minute_with_holders_and_queue():
    repository, pushed, lines = Repository(), [], []
    watch = LimitWatch(repository.usages, push=pushed.append, log=lines.append, begun=BEGUN)
    repository.now = [Usage(limit=NFC, holders=("copy of a", "copy of b"), waiting=("copy of c",))]
    for seconds in (1, 59, 61, 65, 130):
        watch.look(BEGUN + timedelta(seconds=seconds))
    assert repository.asked == 2
    use = {"most": 2, "used": 2, "queue": 1, "in use by": "copy of a, copy of b", "waiting": "copy of c"}
    assert pushed == [{"NFC sessions of host esx03": use}]
    (line,) = lines
    assert line == (
        "1 backup or copy waiting for: NFC sessions of host esx03, 2 of 2 in use, held by copy of a, copy of b; "
        "first in the queue: copy of c"
    )


def test_a_repository_that_does_not_answer_is_no_trouble_of_the_windows():
    repository, pushed, lines = Repository(), [], []
    watch = LimitWatch(repository.usages, push=pushed.append, log=lines.append, begun=BEGUN)
    repository.now = None
    watch.look(BEGUN + MINUTE)
    repository.now = []
    watch.look(BEGUN + 2 * MINUTE)
    assert pushed == [{}]
    assert lines == ["who uses the limits is not known now: the repository does not answer"]
