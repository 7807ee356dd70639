"""Tells in the note of a run of upkeep what it has done, because nobody looks into the log of a run that is green."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.listeners import hookimpl

from vmkeep.model.wording import counted, size
from vmkeep_airflow.ours import is_ours
from vmkeep_airflow.runnotes import add_note
from vmkeep_airflow.runresults import left_by

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

Result = Mapping[str, Any]


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    """Note what the run has done."""
    if dag_run.dag_id in _WORDS and is_ours(dag_run):
        task, _ = _WORDS[dag_run.dag_id]
        for line in upkeep_lines(dag_run.dag_id, left_by(dag_run, task, "return_value")):
            add_note(dag_run, line)


def upkeep_lines(dag_id: str, result: Any) -> tuple[str, ...]:
    """Return the lines about a run.

    :param result: the result of the task that tells; of another version of vmkeep, or of a task that had nothing to
        do, no line is made.
    """
    if not isinstance(result, Mapping):
        return ()
    try:
        return tuple(_WORDS[dag_id][1](result))
    except (KeyError, TypeError, AttributeError):
        return ()


def _checked(result: Result) -> Iterator[str]:
    yield f"checked {result['data']}: {size(result['bytes_checked'])}, {counted(result['findings'], 'finding')}"


def _pruned(result: Result) -> Iterator[str]:
    done, plan = result.get("done"), result["plan"]
    if done is None:
        yield f"only planned: {counted(plan['points_to_forget'], 'point')} of {plan['points']:,} would go"
        return
    freed = f"{counted(done['packs_deleted'], 'pack')} deleted, {size(done['bytes_freed'])} given back"
    yield f"{counted(done['points_forgotten'], 'point')} of {plan['points']:,} forgotten; {freed}"


def _hosts(result: Result) -> Iterator[str]:
    failed = f", {result['hosts_failed']:,} not" if result["hosts_failed"] else ""
    yield f"{counted(result['hosts_backed_up'], 'host')} backed up{failed}"


def _swept(result: Result) -> Iterator[str]:
    found = [f"{kind}: {number:,} {state}" for kind, of in result["counts"].items() for state, number in of.items()]
    yield "; ".join(found) or "no leftovers"


def _overdue(result: Result) -> Iterator[str]:
    late = sum(map(len, result.values()))
    yield f"{counted(len(result), 'policy', 'policies')} with a max_age, {counted(late, 'VM')} overdue"


def _missed(result: Result) -> Iterator[str]:
    yield f"windows that did not open: {', '.join(sorted(result))}" if result else "no further window was missed"


def _examined(result: Result) -> Iterator[str]:
    proxies = [counts for counts in result.values() if counts]
    states: dict[str, int] = {}
    for counts in proxies:
        for state, number in counts.items():
            states[state] = states.get(state, 0) + number
    yield f"{counted(len(proxies), 'proxy', 'proxies')} examined: {', '.join(f'{n:,} {s}' for s, n in states.items())}"


_WORDS: Final[Mapping[str, tuple[str, Callable[[Result], Iterator[str]]]]] = {
    "repository_check": ("check", _checked),
    "repository_maintenance": ("prune", _pruned),
    "host_config_backup": ("back_up_hosts", _hosts),
    "snapshot_sweep": ("sweep", _swept),
    "missed_backups": ("find", _overdue),
    "missed_windows": ("find", _missed),
    "proxy_check": ("report", _examined),
}
"""The task whose result tells, and its words, by DAG."""
