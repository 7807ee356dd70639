"""Says which calls of Airflow's API may lose what a VM holds now, or points, and so need a right. Pure.

A run loses something only by its params, by the answer to its question, or by running again. So a call is harmless if
it starts a run whose params lose nothing, stops a run, or is about a run that can lose nothing. A call that is not
known here needs the right, so that a later version of Airflow opens no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from vmkeep.flows.restore_request import OnConflict

DEFAULT_REPOSITORY: Final = "vmkeep_default"
"""Connection of a run whose params name none."""
RESTORES: Final = "vm_restore"
ENDS: Final = frozenset({"restore_undo", "restore_accept"})
"""DAGs that end a restore which keeps a snapshot: one of both states of the VM is lost."""
UPKEEP: Final = "repository_maintenance"
"""DAG that deletes points. Rules may be given for one run, in place of those of the connection."""
GUARDED: Final = frozenset({RESTORES, *ENDS, UPKEEP})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ANY: Final = "~"
"""Airflow's word for all DAGs, or all runs, in a path."""
_BACKFILLS: Final = "backfills"
"""Part of the path of calls that make or clear runs of earlier times. The body names the DAG, and the params."""
_READING: Final = frozenset({"list", "favorite", "unfavorite", "dry_run"})
"""Last parts of paths whose POSTs change no run. A run may have such an id, and its calls end with it, too."""
_STOPPING: Final = frozenset({"success", "failed", "skipped", None})
_CLEARING: Final = frozenset({"clear", "clearTaskInstances"})
_MOST_RUNS: Final = 100
"""Runs of one call that are looked up one by one."""
_SPREADING: Final = ("include_future", "include_past")
"""Fields by which a call clears tasks of other runs, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of Airflow's API about DAGs that may overwrite."""

    method: str
    parts: tuple[str, ...]
    """The path below ``dags``, the DAG's id first. That of a backfill begins with ``~``, too."""
    body: Any = None

    @property
    def dag_id(self) -> str:
        """The DAG that it is about; ``~``: several, which its body names."""
        return self.parts[0]

    @property
    def run_id(self) -> str | None:
        """The only run that it is about; ``None``: there is none, or there may be others."""
        if is_bulk(self.method, self.parts[1:]):
            return None
        match self.parts[1:]:
            case ("dagRuns", run_id, *_) if run_id != _ANY:
                return run_id
            case ("clearTaskInstances",) if not any(self.field(each) for each in _SPREADING):
                run_id = self.field("dag_run_id")
                return run_id if isinstance(run_id, str) else None
        return None

    @property
    def runs(self) -> frozenset[tuple[str, str]] | None:
        """DAG and id of each run that it is about; ``None``: it does not name them."""
        if self.run_id is not None:
            return frozenset({(self.dag_id, self.run_id)})
        listed = self.field("dag_runs")
        if self.parts[1:] != ("clearDagRuns",) or not isinstance(listed, list) or not listed:
            return None
        own = None if self.dag_id == _ANY else self.dag_id
        named = [(own or each.get("dag_id"), each.get("dag_run_id")) for each in listed if isinstance(each, Mapping)]
        known = [(dag, run) for dag, run in named if isinstance(dag, str) and isinstance(run, str)]
        return frozenset(known) if len(known) == len(listed) and _ANY not in chain(*known) else None

    def field(self, name: str, default: Any = None) -> Any:
        """Return a field of the body."""
        return self.body.get(name, default) if isinstance(self.body, Mapping) else default

    def is_harmless(self) -> bool:
        """Return whether it loses nothing, whatever the run is that it is about."""
        if (self.method == "POST" and self.parts[-1] in _READING) or (self.method == "PATCH" and len(self.parts) == 1):
            return True
        if self.dag_id == _ANY:
            return GUARDED.isdisjoint(_texts(self.body))
        match self.parts[1:]:
            case ("dagRuns",) if self.method == "POST":
                conf = self.field("conf")
                return conf is None or (isinstance(conf, Mapping) and not loses(self.dag_id, conf))
            case ("dagRuns", _) if self.method == "PATCH":
                return self.field("state") in _STOPPING
            case ("dagRuns", _, "taskInstances", _, *more) if self.method == "PATCH" and len(more) <= 1:
                return "hitlDetails" not in more and self.field("new_state") in _STOPPING
            case (*_, last) if last in _CLEARING:
                return self.field("dry_run", default=True) is True
        return False


def call_of(method: str, path: str) -> Call | None:
    """Return a call without its body; ``None``: it is about no DAG that may overwrite, or it only reads."""
    _, _, below = path.partition("/api/v2/")
    match tuple(part for part in below.split("/") if part):
        case _ if method in _SAFE:
            return None
        case ("dags", dag_id, *more) if dag_id in {*GUARDED, _ANY}:
            return Call(method=method, parts=(dag_id, *more))
        case ("dags", _, *more) if is_bulk(method, more):
            return Call(method=method, parts=(_ANY, *more))
        case (first, *more) if first == _BACKFILLS:
            return Call(method=method, parts=(_ANY, first, *more))
    return None


def is_bulk(method: str, below: Sequence[str]) -> bool:
    """Return whether a call changes several runs or tasks, whose DAG and run its body may name against its path.

    :param below: the path below the DAG.
    """
    match tuple(below):
        case ("dagRuns",) | ("dagRuns", _, "taskInstances"):
            return method == "PATCH"
    return False


def loses(dag_id: str, conf: Mapping[str, Any]) -> bool:
    """Return whether a run with these params loses something without asking anybody."""
    if dag_id == RESTORES:
        return conf.get("on_conflict") == OnConflict.OVERWRITE and conf.get("dry_run") is not True
    if dag_id == UPKEEP:
        own_rules = any(value is not None for name, value in conf.items() if name.startswith("keep_"))
        own_days = conf.get("time_zone") not in (None, "")  # where days begin decides which point stays
        return (own_rules or own_days) and conf.get("dry_run") is not True
    return conf.get("yes") not in (None, False)


def may_lose(dag_id: str, conf: Mapping[str, Any]) -> bool:
    """Return whether a run with these params loses something, at once or once somebody says yes."""
    if dag_id == RESTORES:
        asked = conf.get("on_conflict") in (OnConflict.OVERWRITE, OnConflict.PROMPT)
        return asked and conf.get("dry_run") is not True
    return loses(dag_id, conf) if dag_id == UPKEEP else True


def rights_needed(call: Call, conf_of: Callable[[str, str], Mapping[str, Any]]) -> frozenset[str | None]:
    """Return the connections of the repositories that a user has to administer for a call; empty: none.

    ``None`` among them stands for every connection: the call does not name the runs that it is about.

    :param conf_of: returns the params of a run by its DAG and id. It is asked only if the answer depends on them.
    """
    if call.is_harmless():
        return frozenset()
    match call.parts[1:]:
        case ("dagRuns",) if call.method == "POST" and call.dag_id != _ANY:
            return frozenset({_repository(call.field("conf"))})
        case (first, *_) if first == _BACKFILLS:
            return frozenset({_repository(call.field("dag_run_conf"))})
    runs = call.runs
    if runs is None or len(runs) > _MOST_RUNS:
        return frozenset({None})
    confs = ((dag_id, conf_of(dag_id, run_id)) for dag_id, run_id in sorted(runs) if dag_id in GUARDED)
    return frozenset(_repository(conf) for dag_id, conf in confs if _needs_right(call, dag_id, conf))


def _needs_right(call: Call, dag_id: str, conf: Mapping[str, Any]) -> bool:
    forged = "xcomEntries" in call.parts  # by results that somebody wrote, any run could be led to overwrite
    answers = dag_id == UPKEEP and "hitlDetails" in call.parts  # a yes changes the retention
    return forged or answers or may_lose(dag_id, conf)


def _repository(conf: Any) -> str:
    named = conf.get("repository") if isinstance(conf, Mapping) else None
    return named if isinstance(named, str) and named else DEFAULT_REPOSITORY


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
