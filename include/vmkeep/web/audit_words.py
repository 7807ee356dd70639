"""The words for the things that people do: one sentence for each event of Airflow's log, and for each run. Pure.

The events are the names under which Airflow 3 notes calls of its API, and vmkeep's own, which begin with ``vmkeep_``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from vmkeep.web.words import plain

RUN: Final = "run"
"""Stands for the event of a run that began."""
START: Final = "trigger_dag_run"
"""Airflow's word for a call that asks for a run."""
GONE: Final = "start without a run"
"""Stands for the event of a call that asked for a run which Airflow does not have."""
FETCHED: Final = "vmkeep_fetch_file"
LIMIT: Final = "vmkeep_change_limit"
REFUSED: Final = "vmkeep_refused"
_Details = Mapping[str, Any]


class AuditKind(StrEnum):
    """The kinds of things that people do."""

    BACKUP = "backup"
    RESTORE = "restore"
    EXPORT = "export"
    CHECK = "check"
    UPKEEP = "upkeep"
    FILES = "files"
    ANSWER = "answer"
    CHANGED = "changed"
    SETTINGS = "settings"
    REFUSED = "refused"

    @property
    def label(self) -> str:
        """The words on the page."""
        return _LABELS[self]


_LABELS: Final = {
    AuditKind.BACKUP: "backup",
    AuditKind.RESTORE: "restore",
    AuditKind.EXPORT: "export",
    AuditKind.CHECK: "check or scan",
    AuditKind.UPKEEP: "maintenance",
    AuditKind.FILES: "file fetched",
    AuditKind.ANSWER: "answer",
    AuditKind.CHANGED: "run changed",
    AuditKind.SETTINGS: "settings",
    AuditKind.REFUSED: "refused",
}

DAGS: Final[Mapping[AuditKind, tuple[str, ...]]] = {
    AuditKind.BACKUP: ("vm_backup", "host_config_backup", "backup_window_"),
    AuditKind.RESTORE: (
        "vm_restore", "restore_undo", "restore_accept", "disk_attach", "disaster_recovery", "recovery_drill_",
    ),
    AuditKind.EXPORT: ("export_point", "policy_exports_"),
    AuditKind.UPKEEP: ("repository_maintenance", "snapshot_sweep"),
}  # fmt: skip
"""The beginnings of the ids of DAGs by the kind of their runs. All other runs of ours look, and change nothing."""


def kind_of_run(dag_id: str) -> AuditKind:
    """Return the kind of a run by its DAG."""
    found = (kind for kind, beginnings in DAGS.items() if dag_id.startswith(beginnings))
    return next(found, AuditKind.CHECK)


def kind_of_event(event: str, dag_id: str) -> AuditKind:
    """Return the kind of a thing that was done."""
    return kind_of_run(dag_id) if event in (RUN, GONE) else _EVENTS[event][0]


def events_of(kind: AuditKind | None) -> tuple[str, ...]:
    """Return the events of Airflow's log that are of a kind; ``None``: all that are shown."""
    return tuple(event for event, (its, _) in _EVENTS.items() if kind in (None, its))


def told(event: str, dag_id: str, task: str, details: _Details) -> str:
    """Return the sentence about a thing that was done, without its subject.

    :param task: the task that it is about; maybe empty.
    :param details: the conf of a run, or the values that Airflow has noted.
    """
    if event == RUN:
        return plain(f"{'planned' if only_planned(dag_id, details) else 'started'} {dag_id}{_fields(details)}")
    if event == GONE:
        asked = f"asked for a {'plan' if only_planned(dag_id, details) else 'run'} of {dag_id}{_fields(details)}"
        return plain(f"{asked}; Airflow has none: it was refused, or its record was deleted")
    return plain(_EVENTS[event][1](task, details))


def only_planned(dag_id: str, conf: _Details) -> bool:
    """Return whether a run with this conf only shows what it would do, as a plan of the restore wizard.

    Airflow keeps also fields that a DAG does not have, as whoever wants to look harmless may give them.
    """
    return dag_id in _PLANNING and conf.get("dry_run") is True


def _fields(conf: _Details) -> str:
    """Return the fields of a run that decide what it may lose."""
    shown = [
        f"{name} {_short(value)}" if value is not True else name
        for name, value in sorted(conf.items())
        if value not in (None, False, "") and (name in _TELLING or name.startswith("keep_"))
    ]
    return f": {', '.join(shown)}" if shown else ""


_PLANNING: Final = frozenset({"vm_restore", "disk_attach", "repository_maintenance", "snapshot_sweep"})
"""The DAGs that have the field ``dry_run``."""
_TELLING: Final = frozenset({"yes", "on_conflict", "undo", "approved", "repair", "as_planned", "time_zone"})


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _answered(task: str, details: _Details) -> str:
    chosen = details.get("chosen_options")
    options = [str(each) for each in chosen] if isinstance(chosen, list) else []
    match options:
        case ["Approve"]:
            return f"said yes to the question of task {task}"
        case ["Reject"]:
            return f"said no to the question of task {task}"
    return f"answered the question of task {task}: {_short(options) if options else 'nothing'}"


def _run_changed(_task: str, details: _Details) -> str:
    match details.get("state"):
        case "failed":
            return "stopped the run: set it to failed"
        case str(state):
            return f"marked the run as {state}"
    return "changed the note of the run"


def _cleared(task: str, details: _Details) -> str:
    tasks = [task] if task else details.get("task_ids")
    if not isinstance(tasks, list) or not tasks:
        return "cleared tasks, which then run again"
    names = [each[0] if isinstance(each, list) and each else each for each in tasks]
    return f"cleared {_short(names)}, which then runs again"


def _backfilled(_task: str, details: _Details) -> str:
    conf = details.get("dag_run_conf")
    return f"asked for runs of earlier times (backfill){_fields(conf) if isinstance(conf, Mapping) else ''}"


def _marked(task: str, details: _Details) -> str:
    state = details.get("new_state")
    return f"marked task {task or 'of the run'} as {state}" if state else f"changed task {task or 'of the run'}"


def _switched(_task: str, details: _Details) -> str:
    match details.get("is_paused"):
        case True | "true" | "True":
            return "switched the DAG off"
        case False | "false" | "False":
            return "switched the DAG on"
    return "changed the DAG"


def _connection(verb: str) -> Callable[[str, _Details], str]:
    def words(_task: str, details: _Details) -> str:
        extra = details.get("extra")
        fields = f" (fields {', '.join(sorted(extra))})" if isinstance(extra, Mapping) and extra else ""
        return f"{verb} connection {details.get('connection_id') or 'of unknown id'}{fields}"

    return words


def _pool(verb: str) -> Callable[[str, _Details], str]:
    def words(_task: str, details: _Details) -> str:
        name = details.get("pool_name") or details.get("name") or details.get("pool") or "of unknown name"
        slots = details.get("slots")
        return f"{verb} pool {name}" + ("" if slots is None else f": slots {_short(slots)}")

    return words


def _of_asset(words: str) -> Callable[[str, _Details], str]:
    return lambda _task, details: words.format(asset=f"asset {details['asset']}" if details.get("asset") else "assets")


def _fetched(_task: str, details: _Details) -> str:
    form = f" as {details['form']}" if details.get("form") else ""
    return f"fetched {details.get('volume', '')}:{details.get('path', '')}{form} of point {details.get('point', '')}"


def _limited(_task: str, details: _Details) -> str:
    before, after = details.get("before") or "no limit", details.get("after") or "no limit"
    return f"changed the rate limit of {details.get('connection_id', '')} from {before} to {after}"


def _refused(_task: str, details: _Details) -> str:
    call = f"{details.get('method')} {details.get('path')}"
    return f"was refused, because the right to overwrite or to delete is missing: {call}"


def _always(words: str) -> Callable[[str, _Details], str]:
    return lambda _task, _details: words


def _of_task(verb: str) -> Callable[[str, _Details], str]:
    return lambda task, details: f"{verb} of task {task or details.get('task_id') or 'of unknown id'}"


_DROPPED: Final = "deleted events of {asset} that waited, so that no run begins by them"
_EVENTS: Final[Mapping[str, tuple[AuditKind, Callable[[str, _Details], str]]]] = {
    "update_hitl_detail": (AuditKind.ANSWER, _answered),
    "patch_dag_run": (AuditKind.CHANGED, _run_changed),
    "delete_dag_run": (AuditKind.CHANGED, _always("deleted the run from Airflow")),
    "clear_dag_run": (AuditKind.CHANGED, _always("cleared the run, which then runs again")),
    "clear_dag_runs": (AuditKind.CHANGED, _always("cleared several runs, which then run again")),
    "clear_dag_run_partitions": (AuditKind.CHANGED, _always("cleared runs by their partitions, which then run again")),
    "bulk_dag_runs": (AuditKind.CHANGED, _always("changed or deleted several runs")),
    "post_clear_task_instances": (AuditKind.CHANGED, _cleared),
    "patch_task_instance": (AuditKind.CHANGED, _marked),
    "patch_task_group_instances": (AuditKind.CHANGED, _marked),
    "bulk_task_instances": (AuditKind.CHANGED, _always("changed or deleted several tasks")),
    "delete_task_instance": (AuditKind.CHANGED, _of_task("deleted the record")),
    "create_xcom_entry": (AuditKind.CHANGED, _of_task("wrote a result")),
    "update_xcom_entry": (AuditKind.CHANGED, _of_task("changed a result")),
    "delete_xcom_entry": (AuditKind.CHANGED, _of_task("deleted a result")),
    "create_backfill": (AuditKind.CHANGED, _backfilled),
    "pause_backfill": (AuditKind.CHANGED, _always("paused a backfill, so that no further run of it begins")),
    "unpause_backfill": (AuditKind.CHANGED, _always("let a paused backfill go on")),
    "cancel_backfill": (AuditKind.CHANGED, _always("cancelled a backfill: its runs that wait will not begin")),
    "create_asset_event": (AuditKind.CHANGED, _of_asset("made an event of {asset}, by which runs may begin")),
    "materialize_asset": (AuditKind.CHANGED, _of_asset("asked for the run that makes {asset}")),
    "delete_asset_queued_events": (AuditKind.CHANGED, _of_asset(_DROPPED)),
    "delete_dag_asset_queued_events": (AuditKind.CHANGED, _of_asset(_DROPPED)),
    "delete_dag_asset_queued_event": (AuditKind.CHANGED, _of_asset(_DROPPED)),
    START: (AuditKind.CHANGED, _always("asked for a run as of another time than now")),
    "cli_create_backfill": (AuditKind.CHANGED, _always("asked for runs of earlier times by the command airflow")),
    "cli_task_clear": (AuditKind.CHANGED, _always("cleared tasks by the command airflow")),
    "patch_dag": (AuditKind.SETTINGS, _switched),
    "patch_dags": (AuditKind.SETTINGS, _switched),
    "delete_dag": (AuditKind.SETTINGS, _always("deleted the DAG with all its runs from Airflow")),
    "cli_dag_pause": (AuditKind.SETTINGS, _always("switched the DAG off by the command airflow")),
    "cli_dag_unpause": (AuditKind.SETTINGS, _always("switched the DAG on by the command airflow")),
    "cli_dag_delete": (AuditKind.SETTINGS, _always("deleted the DAG with all its runs by the command airflow")),
    "post_connection": (AuditKind.SETTINGS, _connection("made")),
    "patch_connection": (AuditKind.SETTINGS, _connection("changed")),
    "delete_connection": (AuditKind.SETTINGS, _connection("deleted")),
    "bulk_connections": (AuditKind.SETTINGS, _always("changed several connections")),
    "post_pool": (AuditKind.SETTINGS, _pool("made")),
    "patch_pool": (AuditKind.SETTINGS, _pool("changed")),
    "delete_pool": (AuditKind.SETTINGS, _pool("deleted")),
    "bulk_pools": (AuditKind.SETTINGS, _always("made, changed or deleted several pools")),
    "cli_pool_set": (AuditKind.SETTINGS, _always("made or changed a pool by the command airflow")),
    "cli_pool_delete": (AuditKind.SETTINGS, _always("deleted a pool by the command airflow")),
    LIMIT: (AuditKind.SETTINGS, _limited),
    FETCHED: (AuditKind.FILES, _fetched),
    REFUSED: (AuditKind.REFUSED, _refused),
}
"""The events of Airflow's log that are shown, each with its kind and the function that makes its sentence."""

POOL_EVENTS: Final = frozenset(event for event in _EVENTS if "pool" in event)
BACKFILL_EVENTS: Final = frozenset({"pause_backfill", "unpause_backfill", "cancel_backfill"})
"""Events that name a backfill by its number, and no DAG."""
ASSET_EVENTS: Final = frozenset(event for event in _EVENTS if "asset" in event)
"""Events that name an asset by its number."""
