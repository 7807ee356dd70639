"""The page of the recoveries: each plan, its last drill and recovery, and the times that they reached. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from vmkeep.flows.recovery_overview import NotedRecovery
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, counted, counted_of
from vmkeep.policy import Window
from vmkeep.recovery import PlanFile, RecoveryPlan
from vmkeep.web.words import Moment, moment, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRow:
    """A run of a plan."""

    run: str
    kind: str
    """``drill`` or ``recovery``."""
    began: Moment
    result: str
    tone: str
    """Class in the style sheet."""
    rto: str
    """The time that was reached; empty: it was not."""
    rpo: str
    vcenter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """A plan on the page."""

    name: str
    file: str
    faults: tuple[str, ...]
    """Each with line and column; empty: the plan can be carried out."""
    description: str = ""
    groups: tuple[str, ...] = ()
    """In the order in which they are restored."""
    drills: str = ""
    """Its rehearsals, in words."""
    has_dag: bool = False
    """Airflow rehearses it by schedule."""
    is_off: bool = False
    """The DAG of its drills by schedule is switched off, as each new one is."""
    warning: str = ""
    """The reason why nobody knows that the plan works; empty: a drill or a recovery showed it in time."""
    runs: tuple[RecoveryRow, ...] = ()
    """The newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveriesPage:
    """Everything on the page."""

    plans: tuple[PlanRow, ...]
    others: tuple[PlanRow, ...]
    """Plans that are in no file here, and were carried out."""
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The page in one sentence."""
        if not self.plans:
            return "There is no recovery plan."
        unshown = sum(bool(plan.warning or plan.faults) for plan in self.plans)
        shown = f"{unshown:,} not shown to work" if unshown else "all shown to work"
        return f"{counted(len(self.plans), 'plan')}: {shown}."


def recoveries_page(
    files: Sequence[PlanFile],
    runs: Sequence[NotedRecovery],
    *,
    off: Collection[str] = (),
    problems: Sequence[str],
    now: datetime,
) -> RecoveriesPage:
    """Return the page.

    :param files: every plan file, those with faults as well.
    :param runs: the newest first.
    :param off: names of the plans whose DAG of drills is switched off.
    """
    of_plan: dict[str, list[NotedRecovery]] = {}
    for run in runs:
        of_plan.setdefault(run.plan, []).append(run)
    plans = [
        replace(_row(read, of_plan.pop(read.plan.name, []), now), is_off=read.plan.name in off)
        if read.plan
        else _row(read, [], now)
        for read in files
    ]
    plans.sort(key=lambda row: (not row.faults, not row.warning, row.name))
    others = (
        PlanRow(name=plain(name), file="", faults=(), runs=tuple(_run(each, now) for each in found))
        for name, found in sorted(of_plan.items())
    )
    return RecoveriesPage(plans=tuple(plans), others=tuple(others), problems=tuple(problems))


def _row(read: PlanFile, runs: Sequence[NotedRecovery], now: datetime) -> PlanRow:
    file = plain(read.path.rpartition("/")[2])
    if read.plan is None:
        faults = (f"line {each.place.line}, column {each.place.column}: {each.message}" for each in read.faults)
        return PlanRow(name=file.removesuffix(".yaml"), file=file, faults=tuple(map(plain, faults)))
    return PlanRow(
        name=read.plan.name,
        file=file,
        faults=(),
        description=plain(read.plan.description),
        groups=tuple(plain(f"{each.name}: {each.selection}") for each in read.plan.groups),
        drills=plain(_drills(read.plan)),
        has_dag=read.plan.drill is not None and read.plan.drill.schedule is not None,
        warning=_warning(read.plan, runs, now),
        runs=tuple(_run(each, now) for each in runs),
    )


def _drills(plan: RecoveryPlan) -> str:
    if plan.drill is None:
        return "none: the plan has no rules for a drill"
    by = (
        f"by schedule: {_begins(plan.drill.schedule)}"
        if plan.drill.schedule is not None
        else "when somebody begins one"
    )
    within = plan.drill.proved_within
    return f"{by}, in the network {plan.drill.network}{f', an alarm after {_span(within)}' if within else ''}"


def _begins(schedule: Window) -> str:
    """Return when drills begin. Their schedule has no end, and as a window it ends at the same time of the next day."""
    return str(schedule).replace(f" to {schedule.end:%H:%M}", "", 1)


def _warning(plan: RecoveryPlan, runs: Sequence[NotedRecovery], now: datetime) -> str:
    """Return why nobody knows that the plan works. A run of the future shows nothing, because its clock was wrong."""
    shown = [run for run in runs if run.ended is not None and run.began <= now]
    if not shown:
        return "No drill or recovery of this plan came to its end yet."
    last = shown[0]
    if last.failed:
        return f"The last {_kind(last)} did not bring back {counted_of(last.failed, _vms(last), 'VM')}."
    if last.healthy == 0:
        return f"The last {_kind(last)} started no VM, so that none is proved."
    within = plan.drill.proved_within if plan.drill else None
    if within is not None and now - last.began > within:
        return f"The last {_kind(last)} is older than the {_span(within)} that the plan allows."
    return ""


def _run(run: NotedRecovery, now: datetime) -> RecoveryRow:
    began = moment(run.began, now)
    assert began is not None
    off = f", {run.off:,} off as planned" if run.off else ""
    told = f"{counted_of(run.healthy, _vms(run), 'VM')} healthy{off}"
    if run.ended is None:
        told, tone = f"goes on, or was interrupted: {told}", "warn"
    else:
        tone = "bad" if run.failed else "good"
    return RecoveryRow(
        run=plain(run.run),
        kind=_kind(run),
        began=began,
        result=told,
        tone=tone,
        rto="" if run.rto is None or run.ended is None else age(run.rto),
        rpo="" if run.rpo is None else age(run.rpo),
        vcenter=plain(run.vcenter),
    )


def _vms(run: NotedRecovery) -> int:
    return run.healthy + run.off + run.failed


def _kind(run: NotedRecovery) -> str:
    return "drill" if run.drill else "recovery"


def _span(span: timedelta) -> str:
    return age(span.total_seconds())
