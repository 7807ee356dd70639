"""Writes notes on DAG runs, which Airflow shows beside the grid: a VM and its backup, a window, why it is red."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from vmkeep.model.fullreason import FullReason
from vmkeep.model.wording import counted, size
from vmkeep_airflow.ours import is_ours
from vmkeep_airflow.policies import EXPORTS, PREFIX
from vmkeep_airflow.runcauses import cause_line, is_stopped, only_told, without_end
from vmkeep_airflow.runresults import left_by, result_of
from vmkeep_airflow.states import LEFT
from vmkeep_airflow.wizardplans import REFUSED

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

LONGEST = 1000
"""Greatest number of characters that Airflow keeps of a note."""
_BY_HAND = "Dag Run's state was manually set to"
"""The beginning of the message with which Airflow tells of a mark by a person."""
_NAMED = 4
"""Number of points that a note names, because each takes a line."""


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Name the VM in the note of a run that begins, unless it has a note. What tells of an earlier end goes."""
    if dag_run.note and is_ours(dag_run) and (kept := without_end(dag_run.note)) != dag_run.note:
        dag_run.note = kept
    about = subject(dag_run.dag_id, dag_run.conf or {})
    if about and not dag_run.note:
        add_note(dag_run, about)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Tell in the note how a window's backups ended and what a check has found, and the task and cause of a failure."""
    _tell_mark(dag_run, msg, "failed")
    _tell_end(dag_run)
    if not is_ours(dag_run) or is_stopped(dag_run.note):
        return
    tells_itself = dag_run.dag_id.startswith(PREFIX) or dag_run.dag_id in ("guest_checks", "data_quality")
    if not (tells_itself and only_told(dag_run)):
        for line in cause_line(dag_run):
            add_note(dag_run, line)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Tell in the note how the run ended: a window's backups, how a backup was made, or what a restore has written."""
    _tell_mark(dag_run, msg, "a success")
    _tell_end(dag_run)
    if dag_run.dag_id not in ("vm_backup", "export_point") or not is_ours(dag_run):
        return
    if dag_run.dag_id == "export_point":
        for line in written(result_of(dag_run, "export")):
            add_note(dag_run, line)
        return
    sealed = result_of(dag_run, "catalog")
    for line in (*alarm(sealed), *reached(sealed), *ways(sealed)):
        add_note(dag_run, line)


def _tell_mark(dag_run: DagRun, msg: str, state: str) -> None:
    """Tell that a person has marked the run. Its teardowns may be at work until later."""
    if msg.startswith(_BY_HAND) and is_ours(dag_run) and not is_stopped(dag_run.note):
        add_note(dag_run, f"marked as {state} by hand")


def _tell_end(dag_run: DagRun) -> None:
    """Tell what a run of each kind has done."""
    _tell_window(dag_run)
    _tell_guests(dag_run)
    _tell_quality(dag_run)
    _tell_restore(dag_run)
    _tell_exports(dag_run)


def _tell_window(dag_run: DagRun) -> None:
    if not dag_run.dag_id.startswith(PREFIX) or not is_ours(dag_run):
        return
    from vmkeep_airflow.windowreports import note_of  # takes time to import

    for line in note_of(result_of(dag_run, "report")):
        add_note(dag_run, line)


def _tell_guests(dag_run: DagRun) -> None:
    """Tell in the note of a check of guests what it has found."""
    if dag_run.dag_id != "guest_checks" or not is_ours(dag_run):
        return
    for line in result_of(dag_run, "tell").get("lines") or ():
        add_note(dag_run, line)


def _tell_exports(dag_run: DagRun) -> None:
    """Name in the note of a policy's exports the points that were left out, because nobody looks into a green run."""
    if dag_run.dag_id.startswith(EXPORTS) and is_ours(dag_run):
        for line in not_exported(left_by(dag_run, "choose", LEFT) or ()):
            add_note(dag_run, line)


def _tell_restore(dag_run: DagRun) -> None:
    """Name the VM in the note of a restore whose plan tells it, and tell what was done."""
    if dag_run.dag_id not in ("vm_restore", "disk_attach") or not is_ours(dag_run):
        return
    if dag_run.dag_id == "disk_attach":
        result = result_of(dag_run, "attach")
        lines = [*refused(result), *attached(result)]
    else:
        plan = result_of(dag_run, "plan")
        _name_vm(dag_run, plan)
        restored = result_of(dag_run, "finish")
        lines = [*refused(plan), *untouched(result_of(dag_run, "approve")), *put_back(restored), *way_back(restored)]
    for line in lines:
        add_note(dag_run, line)


def _name_vm(dag_run: DagRun, plan: Mapping[str, Any]) -> None:
    """Put the names of a plan in place of the ref with which the note began."""
    own, *others = (dag_run.note or "").splitlines() or [""]
    if plan.get("vm") and own in ("", subject(dag_run.dag_id, dag_run.conf or {})):
        named = restore_subject(plan["vm"]["name"], plan["point"], plan["target_name"])
        dag_run.note = "\n".join([named, *others])[:LONGEST]


def _tell_quality(dag_run: DagRun) -> None:
    """Tell in the note of a check of data quality what it has found in each repository."""
    if dag_run.dag_id == "data_quality" and is_ours(dag_run):
        for line in not_met(result_of(dag_run, "check")):
            add_note(dag_run, line)


def not_met(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each repository: the result of its check, and the number of findings by expectation.

    :param found: the result of task ``check`` of the DAG ``data_quality``.
    """
    lines = []
    for repository, one in found.items():
        counts = (f"{name} {number}" for name, number in one.items() if name != "result" and number)
        lines.append("; ".join([f"{repository}: {one['result']}", *counts]))
    return lines


def not_exported(left: Sequence[str]) -> list[str]:
    """Return the lines about points that a policy does not export now; of many, the first ones and their number.

    :param left: a sentence for each of them.
    """
    if not left:
        return []
    rest = [f"and {counted(len(left) - _NAMED, 'more point')}: see the log of choose"] if len(left) > _NAMED else []
    return [f"{counted(len(left), 'point')} left out:", *left[:_NAMED], *rest]


def untouched(answer: Mapping[str, Any]) -> list[str]:
    """Return the line about a restore that had nothing to do.

    :param answer: the result of task ``approve``.
    """
    if answer.get("dry_run"):
        return ["nothing was restored: only the plan was asked for, see the log of task plan"]
    return ["nothing was restored: the VM exists and was kept"] if answer.get("kept") else []


def refused(result: Mapping[str, Any]) -> list[str]:
    """Return the line about a plan that could not be made as somebody has asked for it in the restore wizard."""
    return [f"nothing was changed: the plan is refused: {result[REFUSED]}"] if result.get(REFUSED) else []


def restore_subject(vm: str, ref: str, target: str) -> str:
    """Return the words for a restore: the VM, the time of its point, and where to.

    :param ref: the point.
    :param target: name of the VM that is made or written over.
    """
    found = _STAMP.search(ref)
    taken = "{}-{}-{} {}:{} UTC".format(*found.groups()) if found else ref
    return f"{vm} of {taken} to {target}"


_STAMP = re.compile(r"/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ-")
"""The time in a point's ref."""


def put_back(restored: Mapping[str, Any]) -> list[str]:
    """Return the line about the bytes that a restore has written.

    :param restored: a ``Restored`` as a dict; without disks: there was nothing to write.
    """
    if not restored.get("disks_written"):
        return []
    written = f"{counted(restored['disks_written'], 'disk')}: {size(restored['bytes_written'])} written"
    zeroed = restored["bytes_zeroed"]
    return [f"{written}{f', {size(zeroed)} made empty with zeros' if zeroed else ''}"]


def attached(result: Mapping[str, Any]) -> list[str]:
    """Return the lines about the disks that a VM got.

    :param result: an ``Attached`` as a dict; without disks: the run only planned.
    """
    if not result.get("disks"):
        return []
    lines = [f"{new['disk']} is {new['address']} of {result['vm']['name']}" for new in result["disks"]]
    return [*lines, f"{counted(len(lines), 'disk')}: {size(result['bytes_written'])} written"]


def way_back(restored: Mapping[str, Any]) -> list[str]:
    """Return the line about a snapshot that a restore keeps, with the DAGs that end it.

    :param restored: a ``Restored`` as a dict.
    """
    if not restored.get("undo"):
        return []
    vm = restored["vm"]
    kept = f"a snapshot of {vm['name']} from before the restore is kept"
    buttons = "trigger 'Undo a restore' to go back to it, or 'Accept a restore' to remove it"
    return [f"{kept}: {buttons} (VM moref:{vm['moref']}, restore {restored['run']})"]


def written(exported: Mapping[str, Any]) -> list[str]:
    """Return the lines about the files that an export has written.

    :param exported: the result of task ``export``.
    """
    if not exported.get("manifest"):
        return []
    disks, data = counted(exported["disks"], "disk"), size(exported["bytes_written"])
    compared = size(exported["bytes_compared"])
    place = str(exported["place"]).rstrip("/")
    lines = [exported["point"], f"{disks}, {data} of data, {compared} read back: {place}/{exported['manifest']}"]
    lines += [f"warning: {warning}" for warning in exported.get("warnings") or ()]
    if exported.get("notes"):
        lines.append(f"{counted(exported['left_out'], 'part')} of the machine left behind: {place}/{exported['notes']}")
    return lines


def reached(sealed: Mapping[str, Any]) -> list[str]:
    """Return the lines of a note about a sealed point.

    :param sealed: a ``Sealed`` as a dict; without a mode, an older program wrote it.
    """
    if not sealed.get("mode_used"):
        return []
    words = [
        _used("mode", sealed["mode_used"], sealed.get("mode_asked")),
        _used("quiesce", sealed.get("quiesce_used") or "off", sealed.get("quiesce_asked")),
        f"reached {sealed.get('consistency')}",
    ]
    changes = [
        f"{change['what']} {change['asked']} changed to {change['used']} ({change['reason']})"
        for change in sealed.get("changes") or ()
    ]
    moved = f"{size(sealed['bytes_read'])} read, {size(sealed['bytes_stored'])} stored"
    skipped = f", {sealed['disks_skipped']} skipped" if sealed["disks_skipped"] else ""
    disks = counted(sealed["disks_copied"], "disk")
    return ["; ".join(words), f"{disks}{skipped}: {moved}", *changes]


def alarm(sealed: Mapping[str, Any]) -> list[str]:
    """Return the line about a lie of change tracking, which comes first because a person has to act."""
    if not sealed.get("lies"):
        return []
    suspects = ", ".join(sealed.get("suspects") or ()) or "none"
    return [f"CHANGE TRACKING LIED about {sealed['lies']} blocks; read in full instead; suspect points: {suspects}"]


def ways(sealed: Mapping[str, Any]) -> list[str]:
    """Return the lines about the disks that were read in full, with the reasons, and about the transports."""
    full, transports = sealed.get("full_reads") or {}, sealed.get("transports") or ()
    reasons = ", ".join(f"{FullReason(reason).why} ({count})" for reason, count in full.items())
    lines = [f"read in full: {reasons}"] if reasons else []
    return [*lines, f"transport {', '.join(transports)}"] if transports else lines


def _used(what: str, used: str, asked: str | None) -> str:
    return f"{what} {used}" if used == asked else f"{what} {used}, asked {asked}"


def subject(dag_id: str, params: Mapping[str, Any]) -> str | None:
    """Return the VMs or points of a run of that DAG with these params; ``None``: it has neither."""
    if dag_id in ("vm_backup", "restore_undo", "restore_accept"):
        return params.get("vm")
    if dag_id == "vm_restore":
        mapped = "the new VM of its mapping" if params.get("mapping") else None
        return f"{params.get('point')} to {params.get('new_name') or params.get('vm') or mapped or 'its original VM'}"
    if dag_id == "disk_attach":
        return f"{', '.join(params.get('disks') or ())} of {params.get('point')} to {params.get('vm')}"
    if dag_id == "export_point":
        return f"{params.get('point')} as {params.get('format') or 'images'} to {params.get('out')}"
    if dag_id in ("verify_points", "malware_scan"):
        chosen = [*(params.get("points") or ()), *filter(None, (params.get("selector"),))]
        return ", ".join(chosen) or None
    return None


def add_note(dag_run: DagRun, line: str) -> None:
    """Append a line to the note of a run, unless the note has it already."""
    lines = (dag_run.note or "").splitlines()
    if line not in lines:
        dag_run.note = "\n".join([*lines, line])[:LONGEST]
