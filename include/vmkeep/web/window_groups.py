"""The windows of a day as Airflow tells them, and the groups of their backups that people count. Pure."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import agreeing


class BackupGroup(StrEnum):
    """A count of a window's backups, which leads to the list of these backups."""

    ALL = "all"
    DONE = "done"
    FAILED = "failed"
    NOT_FIT = "not-fit"
    """Those that were not started, were stopped, or still ran when the window gave up."""
    IN_WORK = "in-work"
    LATE = "late"
    """Those that ended after the window had closed."""
    LEFT_OUT = "left-out"
    """VMs of the policy that cannot be backed up."""


_WORDS: Final = {
    BackupGroup.DONE: "done",
    BackupGroup.FAILED: "failed",
    BackupGroup.NOT_FIT: "that did not fit",
    BackupGroup.IN_WORK: "to go",
    BackupGroup.LATE: "late",
    BackupGroup.LEFT_OUT: "left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBackups:
    """The backups that somebody wants to see: a group of one window."""

    dag_id: str = ""
    run_id: str = ""
    group: BackupGroup = BackupGroup.ALL
    first: int = 0
    """Backups of the group that are left out before the first one that is listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBackup:
    """The backup of one VM in a window."""

    name: str
    run_id: str
    ending: str
    """``done``, ``failed``, ``stopped`` or ``not started``; ``running`` or ``waiting`` while the window is at work;
    ``left out`` for a VM that cannot be backed up."""
    why: str
    begun_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSeen:
    """A window that Airflow has a run of."""

    policy: str
    dag_id: str
    run_id: str
    opens_at: datetime
    closes_at: datetime | None
    """``None``: the run has made no plan."""
    due: str
    is_over: bool
    backups: tuple[WindowBackup, ...]
    left_out: tuple[WindowBackup, ...] = ()
    """VMs of the policy that cannot be backed up."""
    is_queued: bool = False
    """Whether its run waits in Airflow's queue, so that none of its tasks can begin."""
    begun_at: datetime | None = None
    """When Airflow put the run into its queue, which is long after the opening if the window is caught up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlanned:
    """A window that a policy has, as its file is now, and that Airflow has no run of."""

    policy: str
    opens_at: datetime
    closes_at: datetime
    known_since: datetime | None = None
    """When the DAG, with the times that it has now, was known for the first time; ``None``: nothing tells it."""
    is_idle_example: bool = False
    """Whether it is a window of the example that comes with vmkeep, whose DAG nobody has ever switched on."""
    is_off: bool = False
    """Whether its DAG is switched off, as each new one is."""


def groups_of(seen: WindowSeen) -> dict[BackupGroup, tuple[WindowBackup, ...]]:
    """Return the backups behind each count of a window."""
    open_ones = {"running", "waiting"}
    unfit = {"not started", "stopped"} | (open_ones if seen.is_over else set())
    closes_at = seen.closes_at

    def of(*endings: str) -> tuple[WindowBackup, ...]:
        return tuple(each for each in seen.backups if each.ending in endings)

    late = (each for each in seen.backups if each.ended_at and closes_at and each.ended_at > closes_at)
    return {
        BackupGroup.ALL: seen.backups,
        BackupGroup.DONE: of("done"),
        BackupGroup.FAILED: of("failed"),
        BackupGroup.NOT_FIT: of(*unfit),
        BackupGroup.IN_WORK: () if seen.is_over else of(*open_ones),
        BackupGroup.LATE: tuple(late),
        BackupGroup.LEFT_OUT: seen.left_out,
    }


def words_of(group: BackupGroup, number: int) -> str:
    """Return the words that follow the number of a group's backups."""
    return agreeing(number, "backup", "backups") if group is BackupGroup.ALL else _WORDS[group]


def query_of(dag_id: str, run_id: str, day: date, group: BackupGroup, first: int = 0) -> str:
    """Return the query of the page that lists some backups of a window."""
    fields = {"day": day.isoformat()}
    if run_id:
        fields |= {"dag": dag_id, "run": run_id, "group": group.value}
    return urlencode(fields | ({"first": str(first)} if first else {}))
