"""The page of a plan that the restore wizard has asked for: being made, refused, or shown with a way to start. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from vmkeep.flows.attach_values import AttachPreview
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import in_params
from vmkeep.model.scanning import ScanFirst
from vmkeep.web.restore import PointHead
from vmkeep.web.restore_fields import RestoreKind
from vmkeep.web.words import plain

PLANNED_BY: Final = {"vm_restore": "plan", "disk_attach": "attach"}
"""The task that makes the plan, by DAG."""


class PlanState(StrEnum):
    """How far a plan is."""

    WAITING = "waiting"
    """No worker has begun with it."""
    AT_WORK = "at work"
    AGAIN = "again"
    """A try failed for a reason that may pass, and the next one comes."""
    READY = "ready"
    NOTHING = "nothing"
    """There is nothing to do."""
    STARTED = "started"
    """Somebody has started it, so that a run carries it out or has done so."""
    TAKEN = "taken"
    """A run that does something else has the id of the one that would carry it out."""
    REFUSED = "refused"

    @property
    def moves(self) -> bool:
        """Whether it changes by itself."""
        return self in (PlanState.WAITING, PlanState.AT_WORK, PlanState.AGAIN)


_SENTENCES: Final = {
    PlanState.WAITING: "The plan waits for a worker of the backup proxy.",
    PlanState.AT_WORK: "The plan is being made: vCenter and the repository are asked about everything it needs.",
    PlanState.AGAIN: "A try failed, and the next one comes by itself. The log says why.",
    PlanState.READY: "This is what will be done. Nothing was changed so far.",
    PlanState.NOTHING: "There is nothing to do.",
    PlanState.STARTED: "This plan was started, and is not started again. This is what its run was to do.",
    PlanState.TAKEN: (
        "Another run has the name of the one that would carry this plan out, and does something else. "
        "Nothing of this plan was done. Make it again by its form."
    ),
    PlanState.REFUSED: "The restore cannot be done like this. Nothing was changed.",
}
_OF_TASK: Final = {
    "success": PlanState.READY, "running": PlanState.AT_WORK, "up_for_retry": PlanState.AGAIN,
    "failed": PlanState.REFUSED, "upstream_failed": PlanState.REFUSED, "skipped": PlanState.REFUSED,
    "removed": PlanState.REFUSED,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRun:
    """A DAG run that only plans, as Airflow tells it."""

    dag_id: str
    run_id: str
    conf: Mapping[str, Any]
    task_state: str | None
    run_state: str
    by: str
    """Name of the user who asked for it."""
    result: RestorePlan | AttachPreview | None = None
    """``None``: there is none yet."""
    failure: str = ""
    """The reason of the task's failure; empty: it left none."""
    started: str = ""
    """Id of the run that carries the plan out; empty: nobody has started it."""
    taken: str = ""
    """Id of the run that has the name of that one, and does something else; empty: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlanPage:
    """Everything on the page."""

    dag_id: str
    run_id: str
    kind: RestoreKind
    title: str
    state: PlanState
    sentence: str
    point: str
    """Ref."""
    head: PointHead | None
    """The point with its VM; ``None``: no catalog lists it any more."""
    vsphere: str
    """The connection that the plan is for."""
    by: str
    lines: tuple[str, ...]
    overwritten: tuple[str, ...]
    """The present state of the VM that is written over."""
    warnings: tuple[str, ...]
    """Everything that does not carry over, and other things to know before the start."""
    overwrites: bool
    failure: str
    started: str
    """Id of the run that carries the plan out; empty: nobody has started it."""
    taken: str
    """Id of the run that has the name of that one, and does something else; empty: there is none."""
    may_start: bool
    why_not: str
    """The reason why this user may not start it; empty: the user may, or it is not ready."""


def kind_of(dag_id: str, conf: Mapping[str, Any]) -> RestoreKind:
    """Return the kind of restore that a run's params ask for."""
    if dag_id == RestoreKind.ATTACH.dag_id:
        return RestoreKind.ATTACH
    return RestoreKind.NEW if conf.get("new_name") or conf.get("mapping") else RestoreKind.OVER


def state_of(run: PlanRun) -> PlanState:
    """Return how far a plan is."""
    if run.started:
        return PlanState.STARTED
    if run.taken:
        return PlanState.TAKEN
    if isinstance(run.result, RestorePlan) and run.result.nothing_to_do:
        return PlanState.NOTHING
    found = _OF_TASK.get(run.task_state or "", PlanState.WAITING)
    if found is PlanState.READY and run.result is None:
        return PlanState.REFUSED  # somebody marked the task as a success
    if found.moves and run.run_state in ("failed", "success"):
        return PlanState.REFUSED
    return found


def overwrites(run: PlanRun) -> bool:
    """Return whether something that exists is written over."""
    if isinstance(run.result, RestorePlan):
        return not run.result.nothing_to_do and run.result.writes_over
    return kind_of(run.dag_id, run.conf) is RestoreKind.OVER


def restore_plan_page(
    run: PlanRun,
    *,
    head: PointHead | None = None,
    in_words: Callable[[str], str] = in_params,
    overwritten: Sequence[str] = (),
    may_overwrite: bool,
) -> RestorePlanPage:
    """Return the page of a plan.

    :param in_words: puts a message of the engine into the words of the form.
    :param overwritten: lines about the VM that is written over.
    :param may_overwrite: whether the user who looks may overwrite.
    """
    kind, state, over = kind_of(run.dag_id, run.conf), state_of(run), overwrites(run)
    lines, warnings = _told(run.result)
    why_not = ""
    if state is PlanState.READY and over and not may_overwrite:
        why_not = (
            "Only who may edit the repository's connection in Airflow may write over a VM. Ask your administrator."
        )
    failure = run.failure or "The task left no reason: its log says more."
    return RestorePlanPage(
        dag_id=run.dag_id,
        run_id=run.run_id,
        kind=kind,
        title=kind.heading,
        state=state,
        sentence=_SENTENCES[state],
        point=str(run.conf.get("point", "")),
        head=head,
        vsphere=str(run.conf.get("vsphere") or ""),
        by=plain(run.by),
        lines=tuple(plain(in_words(line)) for line in lines),
        overwritten=tuple(plain(line) for line in overwritten),
        warnings=tuple(plain(in_words(line)) for line in warnings),
        overwrites=over,
        failure=plain(in_words(failure)) if state is PlanState.REFUSED else "",
        started=run.started,
        taken=run.taken,
        may_start=state is PlanState.READY and not why_not,
        why_not=why_not,
    )


_SCANNED: Final = {
    ScanFirst.REFUSE: "all files of the point were scanned for malware for this plan, and nothing was found",
    ScanFirst.WARN: "the point was scanned for malware for this plan, and the warnings tell what was found",
}


def _told(result: RestorePlan | AttachPreview | None) -> tuple[Sequence[str], Sequence[str]]:
    if isinstance(result, RestorePlan):
        scanned = _SCANNED.get(result.request.scan)
        once = (f"{scanned}; the restore counts on this scan and makes no second one",) if scanned else ()
        return (*plan_lines(result), *once), result.warnings
    return ((), ()) if result is None else (result.lines, result.warnings)
