"""The states that pages show of VMs, tasks, restores and windows: each with a value, with words, and with a tone."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ShownState(StrEnum):
    """A state with its words. A member is written as its value, its label, its tone and its meaning."""

    label: str
    """The state in a few words."""
    tone: str
    """The tone in which a page shows it: ``good``, ``warn``, ``bad`` or ``calm``."""
    meaning: str
    """The state in a sentence; empty: the label says all."""

    def __new__(cls, value: str, label: str, tone: str, meaning: str = "") -> Self:
        """Make a member."""
        made = str.__new__(cls, value)
        made._value_ = value
        made.label, made.tone, made.meaning = label, tone, meaning
        return made


class VmState(ShownState):
    """The state of a VM's protection, the worst first."""

    NEVER = "never", "no backup yet", "bad", "A policy has the VM, and there is no restore point of it."
    LATE = "late", "late", "bad", "The newest good point is older than the policy's max_age."
    DAMAGED = (
        "damaged", "no good point", "bad",
        "Every restore point of the VM is damaged, suspect or dated in the future, or failed a check.",
    )  # fmt: skip
    FAILED = (
        "failed", "check failed", "bad",
        "A point of the VM has failed a check that no point has passed since, or its newest point is no good one.",
    )  # fmt: skip
    UNPROTECTED = (
        "unprotected", "not protected", "warn",
        "No policy without faults has the VM, and there is no restore point of it.",
    )  # fmt: skip
    BLOCKED = "blocked", "cannot be backed up", "warn", "vSphere or the VM's kind keeps it from being backed up."
    ORPHANED = (
        "orphaned", "no policy now", "warn",
        "A policy asked for its newest restore point, and no policy without faults has the VM now.",
    )  # fmt: skip
    BY_HAND = (
        "by-hand", "no policy", "warn",
        "Somebody backed the VM up by hand, and no policy without faults has it, so that nothing does it again.",
    )  # fmt: skip
    NO_LIMIT = (
        "no-limit", "no limit set", "calm", "There is a good point, and the policy has no max_age to compare it with.",
    )  # fmt: skip
    IMAGE = "image", "imported image", "calm", "Somebody imported it. It is no VM that a policy could have."
    IN_TIME = "in-time", "in time", "good", "The newest good point is younger than the policy's max_age."


class TaskState(ShownState):
    """How a task that has not ended is doing."""

    MOVING = "moving", "at work", "good"
    STILL = "still", "nothing moves", "warn", "it tells its progress, and nothing has moved for a while"
    STARTING = "starting", "has begun", "calm", "it runs, and has told no progress yet"
    UNKNOWN = "unknown", "progress not known", "warn", "its worker lives, and its progress was not told for a while"
    SILENT = "silent", "worker is silent", "bad", "its worker gives no sign of life"
    FOR_SLOT = "for slot", "waits for a slot", "calm"
    FOR_ROOM = "for room", "waits for room", "calm"
    FOR_RETRY = "for retry", "waits for its next try", "warn"
    FOR_ANSWER = "for answer", "waits for an answer", "warn"


class RestoreState(ShownState):
    """How far a restore is that somebody has started."""

    WAITING = "waiting", "waits to begin", "calm", "The restore waits to begin."
    AT_WORK = "at work", "at work", "good", "The restore is at work."
    ASKING = "asking", "waits for an answer", "warn", "The restore has a question, and goes on once somebody answers."
    DONE = "done", "done", "good", "The restore has ended well."
    NOTHING = "nothing", "nothing restored", "warn", "The run has ended, and restored nothing."
    FAILED = "failed", "failed", "bad", "The restore has failed."
    UNKNOWN = (
        "unknown", "not known", "warn",
        "Airflow tells a state of this run that vmkeep does not know: look at the run in Airflow.",
    )  # fmt: skip

    @property
    def moves(self) -> bool:
        """Whether it changes by itself."""
        return self in (RestoreState.WAITING, RestoreState.AT_WORK, RestoreState.ASKING, RestoreState.UNKNOWN)


class WindowState(ShownState):
    """How a window went, the worst that is true."""

    MISSED = "missed", "missed", "bad", "nothing ran while it was open, and its policy does not catch up"
    NO_PLAN = "no plan", "no plan", "bad", "its run knew no VMs; its task 'plan' tells why"
    NOT_FIT = "not fit", "did not fit", "bad", "VMs of it were not backed up before it closed"
    FAILED = "failed", "failures", "bad", "backups of it have failed"
    EMPTY = "empty", "no VM", "warn", "its policy takes no VM that can be backed up"
    NO_RUN = (
        "no run", "no run", "warn",
        "the policy has it, as its file is now, and Airflow has no run: its DAG was paused, or was changed",
    )  # fmt: skip
    LATE = "late", "ran over", "warn", "its last backup ended after it had closed"
    NOT_BEGUN = "not begun", "does not begin", "warn", "its run has made no plan for half an hour: is a worker free?"
    STUCK = "stuck", "does not end", "bad", "it closed more than a day ago, and backups of it have not ended"
    OVERDUE = "overdue", "still at work", "warn", "it has closed, and backups of it have not ended"
    WAITING = "waiting", "waits to begin", "calm", "its run is in Airflow's queue, mostly behind an earlier window"
    OPEN = "open", "open", "calm", "its backups are at work"
    DONE = "done", "in time", "good", "all its backups ended before it closed"
    SUPERSEDED = "superseded", "superseded", "calm", "a later window has backed up the same VMs"
    EXAMPLE = (
        "example",
        "example",
        "calm",
        "its policy is the example that comes with vmkeep, and was never switched on",
    )
    BEFORE = "before", "before its DAG", "calm", "it had closed before Airflow knew its DAG, or the policy's times"
    COMING_OFF = "coming off", "coming, switched off", "warn", "it opens only once its DAG is switched on"
    COMING = "coming", "coming", "calm", "it has not opened yet"
