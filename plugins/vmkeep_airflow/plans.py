"""The recovery plans of this Airflow, as its DAG files read them. A plan with faults harms no other one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import get_parsing_context

from vmkeep.errors import NotFoundError, VmKeepError
from vmkeep.policy import Window
from vmkeep.recovery import DrillRules, PlanFile, RecoveryPlan, default_folder, plans_in, read_plan

PREFIX = "recovery_drill_"
"""The beginning of the id of each drill's DAG."""


def plan_folder() -> Path:
    """Return the folder of the recovery plans: Airflow's ``[vmkeep] plans``, or that which comes with vmkeep."""
    from airflow.configuration import conf

    chosen = conf.get("vmkeep", "plans", fallback="").strip()
    return Path(chosen).expanduser() if chosen else default_folder()


def plan_files() -> tuple[list[PlanFile], list[str]]:
    """Read all plan files. Return them, and a sentence for each that cannot be read at all."""
    found, unread = [], []
    for path in plans_in(plan_folder()):
        try:
            found.append(read_plan(path))
        except VmKeepError as error:
            unread.append(str(error))
    return found, unread


def sound_plans() -> Iterator[tuple[PlanFile, RecoveryPlan]]:
    """Yield the plans without faults."""
    for read in plan_files()[0]:
        if read.plan is not None:
            yield read, read.plan


def faults_of_plans() -> Iterator[str]:
    """Yield every fault of the plan files, with file, line and column."""
    for path in plans_in(plan_folder()):
        try:
            yield from read_plan(path).lines
        except VmKeepError as error:
            yield str(error)


def text_of_plan(given: str) -> str:
    """Return the text of a plan that somebody has named, or given as a text.

    :param given: the name of a plan in the folder, as the page of recoveries lists it, or the text of a plan file.
    :raises NotFoundError: the folder has no plan of that name, or it cannot be read.
    """
    name = given.strip()
    if ":" in name or "\n" in name:
        return given  # a plan has fields, and a name has none
    paths = {path.stem: path for path in plans_in(plan_folder())}
    if name not in paths:
        listed = ", ".join(paths) or "none"
        raise NotFoundError(
            f"no recovery plan is named '{name}' in {plan_folder()}; the plans there: {listed}. Give the name of one, "
            "or the text of a plan file"
        )
    return read_plan(paths[name]).text


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledDrill:
    """A plan that is rehearsed by schedule."""

    plan: RecoveryPlan
    text: str
    """The plan file."""
    rules: DrillRules
    schedule: Window


def scheduled_drills() -> Iterator[ScheduledDrill]:
    """Yield the plans that are rehearsed by schedule; in a process that runs one task, only the one of that task."""
    only = get_parsing_context().dag_id
    for read, plan in sound_plans():
        rules = plan.drill
        if rules is not None and rules.schedule is not None and only in (None, f"{PREFIX}{plan.name}"):
            yield ScheduledDrill(plan=plan, text=read.text, rules=rules, schedule=rules.schedule)


def page_of(plan: RecoveryPlan, page: str) -> str:
    """Return the page of a drill's DAG: that of its kind, and what its plan says."""
    groups = ", ".join(group.name for group in plan.groups)
    named = " ".join(f"{plan.name}: {plan.description}".rstrip(": ").split()).replace("|", "&#124;")
    return f"{page}\n## This plan\n\n| | |\n|---|---|\n| **Plan** | {named} |\n| **Groups** | {groups} |\n"
