"""Tasks that have not ended, as pages show them: how far each is, as its worker told it seconds ago. Pure."""

from __future__ import annotations

from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.model.job import TaskProgress
from vmkeep.model.wording import size
from vmkeep.web.states import TaskState
from vmkeep.web.words import length, plain
from vmkeep.web.work import WorkTask, is_of_this_try, state_of_task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as a page shows it."""

    task: str
    map_index: int
    name: str
    state: TaskState
    label: str
    tone: str
    detail: str
    """The reason for the state, in a sentence; mostly empty."""
    percent: int | None
    done: int | None
    total: int | None
    """Bytes; ``None``: the work is not counted in bytes, or nothing was told."""
    amount: str
    rate: int | None
    """Bytes per second; ``None``: not known now."""
    speed: str
    eta_seconds: int | None
    left: str
    host: str


def task_row(task: WorkTask, now: datetime) -> TaskRow:
    """Return a task as a page shows it."""
    state = state_of_task(task, now)
    found = task.progress if is_of_this_try(task) else None
    is_live = state in (TaskState.MOVING, TaskState.STILL)
    in_bytes = found is not None and found.in_bytes
    rate = round(found.rate) if found is not None and in_bytes and is_live else None
    eta = None
    if found is not None and is_live and found.rate > 0 and found.total:
        eta = round(max(0, found.total - found.done) / found.rate)
    return TaskRow(
        task=task.task,
        map_index=task.map_index,
        name=plain(found.label if found is not None else task.name),
        state=state,
        label=state.label,
        tone=state.tone,
        detail=_detail(task, state, found, now),
        percent=_percent(found),
        done=found.done if found is not None and in_bytes else None,
        total=found.total if found is not None and in_bytes else None,
        amount=_amount(found),
        rate=rate,
        speed="" if rate is None else f"{size(rate)}/s",
        eta_seconds=eta,
        left="" if eta is None else f"{length(eta)} left",
        host=plain(task.host),
    )


def _detail(task: WorkTask, state: TaskState, found: TaskProgress | None, now: datetime) -> str:
    match state:
        case TaskState.SILENT if task.heartbeat_at is not None:
            quiet = length((now - task.heartbeat_at).total_seconds())
            return f"no sign of life for {quiet}; Airflow ends the task by itself after some minutes"
        case TaskState.UNKNOWN if task.told_at is not None:
            quiet = length((now - task.told_at).total_seconds())
            return f"its worker lives, but has told nothing for {quiet}; the numbers are the last that it told"
        case TaskState.STILL if found is not None:
            return f"no byte for {length(found.idle_seconds)}; a transfer that stands still for half an hour fails"
        case TaskState.FOR_ROOM:
            return "a limit is used up; the task's log says which one, and who uses it"
        case TaskState.FOR_SLOT:
            return f"pool {plain(task.pool)}"
        case _:
            return ""


def _percent(found: TaskProgress | None) -> int | None:
    if found is None or not found.total:
        return None
    return min(100, 100 * found.done // found.total)


def _amount(found: TaskProgress | None) -> str:
    if found is None:
        return ""
    if not found.in_bytes:
        return found.phase
    of = f" of {size(found.total)}" if found.total else ""
    return f"{found.phase}: {size(found.done)}{of}"
