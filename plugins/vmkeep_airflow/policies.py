"""The policy files of this Airflow, as its DAG files read them.

Airflow switches off every DAG of a file that has an import error. So the file that makes the windows' DAGs fails for no
fault, and a file of its own, which makes no DAG, has the import error that tells the faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from airflow.sdk import get_parsing_context

from vmkeep.errors import PolicyError, UsageError
from vmkeep.model.wording import counted
from vmkeep.policy import (
    MalwareScan,
    Notifications,
    NotifyWhen,
    Policy,
    PolicyFile,
    default_folder,
    field_of,
    read_file,
    read_folder,
)
from vmkeep_airflow.notifiers import require_notifier
from vmkeep_airflow.plans import faults_of_plans

PREFIX = "backup_window_"
"""The beginning of the id of each window's DAG."""

EXPORTS = "policy_exports_"
"""The beginning of the id of each DAG that exports the points of a policy."""

SCANS = "policy_scans_"
"""The beginning of the id of each DAG that scans the points of a policy for malware."""

CHECKS = "verify_points_"
"""The beginning of the id of each DAG that checks the points of a policy."""

TELL_ALWAYS = Notifications(when=NotifyWhen.ALWAYS)
"""The notifications on a window whose policy cannot be read: by event, because no address is known."""

_NAME = re.compile(field_of(("name",))["pattern"])

_SHOWN = 100
"""Faults that an import error or a page lists."""


def policy_folder() -> Path:
    """Return the folder of the policy files: Airflow's ``[vmkeep] policies``, or that which comes with vmkeep."""
    from airflow.configuration import conf

    chosen = conf.get("vmkeep", "policies", fallback="").strip()
    return Path(chosen).expanduser() if chosen else default_folder()


def policy_files() -> tuple[PolicyFile, ...]:
    """Read all policy files."""
    return read_folder(policy_folder())


def window_policies() -> Iterator[Policy]:
    """Yield the policies without faults; in a process that runs one task, only the one that the task belongs to."""
    yield from (read.policy for read in _files_of_windows() if read.policy is not None)


def faulty_windows() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name and the faults of each policy that has some. A file that no policy may be called like has no name.

    Their DAGs go on to exist, so that a window that was open before its file was broken comes to its end.
    """
    for read in _files_of_windows():
        if read.policy is None and read.path.suffix == ".yaml" and _NAME.fullmatch(read.path.stem):
            yield read.path.stem, tuple(_first(read.lines))


def exporting_policies() -> Iterator[Policy]:
    """Yield the policies without faults that have exports; in a process that runs one task, only that of the task."""
    only = get_parsing_context().dag_id
    read = policy_files() if only is None else _file_of(only, EXPORTS)
    yield from (each.policy for each in read if each.policy is not None and each.policy.exports)


def scanning_policies() -> Iterator[Policy]:
    """Yield the policies without faults whose points are scanned; in a process that runs one task, only the task's."""
    only = get_parsing_context().dag_id
    read = policy_files() if only is None else _file_of(only, SCANS)
    scans = (each.policy for each in read if each.policy is not None)
    yield from (policy for policy in scans if policy.verification.malware is not MalwareScan.NONE)


def checking_policies() -> Iterator[Policy]:
    """Yield the policies without faults that ask for checks; in a process that runs one task, only that of the task."""
    only = get_parsing_context().dag_id
    read = policy_files() if only is None else _file_of(only, CHECKS)
    yield from (each.policy for each in read if each.policy is not None and each.policy.verification.checks)


def _files_of_windows() -> tuple[PolicyFile, ...]:
    only = get_parsing_context().dag_id
    return policy_files() if only is None else _file_of(only, PREFIX)


def _file_of(dag_id: str, prefix: str) -> tuple[PolicyFile, ...]:
    """Return the policy file that a DAG is made of: the rest of its id is the policy's name."""
    if not dag_id.startswith(prefix):
        return ()
    return (read_file(policy_folder() / f"{dag_id.removeprefix(prefix)}.yaml"),)


def require_sound_policies() -> None:
    """Return if no policy file and no recovery plan has a fault, and every notifier that they name is there.

    :raises PolicyError: files have faults; the message tells each with file, line and column.
    """
    files = policy_files()
    lines = [line for read in files for line in read.lines]
    if lines:
        listed = "\n".join(_first(lines))
        raise PolicyError(f"{counted(len(lines), 'fault')} in policy files, which back up nothing now:\n{listed}")
    if mute := list(_unknown_notifiers(files)):
        listed = "\n".join(_first(mute))
        raise PolicyError(f"{counted(len(mute), 'notifier')} of policies cannot tell anybody:\n{listed}")
    if plans := list(faults_of_plans()):
        listed = "\n".join(_first(plans))
        raise PolicyError(f"{counted(len(plans), 'fault')} in recovery plans, which are not rehearsed now:\n{listed}")


def _unknown_notifiers(files: Sequence[PolicyFile]) -> Iterator[str]:
    """Yield each notifier that a policy names and the setting lacks. Makes none, so that no provider is loaded."""
    for read in files:
        for name in read.policy.notifications.notifiers if read.policy else ():
            try:
                require_notifier(name)
            except UsageError as error:
                yield f"{read.path.name}: {error}"


def _first(lines: Sequence[str]) -> Iterator[str]:
    """Yield as many faults as Airflow shows, and the number of the others."""
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more: run 'vmkeep policy check'"


def faulty_page(faults: tuple[str, ...]) -> str:
    """Return the page of a window's DAG whose policy file has faults."""
    listed = "\n".join(f"- {_cell(fault)}" for fault in faults)
    return f"# The policy file has faults\n\nNo window opens until they are mended:\n\n{listed}\n"


def page_of(policy: Policy, page: str) -> str:
    """Return the page of a window's DAG: that of its kind, and what its policy says."""
    rows = {
        "Policy": f"{policy.name}: {policy.description}" if policy.description else policy.name,
        "Selection": f"`{policy.selection}`",
        "Exclusions": ", ".join(f"`{selector}`" for selector in policy.exclusions) or "none",
        "Window": str(policy.window),
        "Repository": f"`{policy.repository}`",
        "Copies": ", ".join(f"`{connection}`" for connection in policy.copies) or "none",
        "Exports": ", ".join(f"{each.format} to `{each.out}`" for each in policy.exports) or "none",
    }
    table = "\n".join(f"| **{name}** | {_cell(value)} |" for name, value in rows.items())
    return f"{page}\n## This policy\n\n| | |\n|---|---|\n{table}\n"


def _cell(text: str) -> str:
    """Return a text for a table of Markdown, in which a line end or a bar would end the cell."""
    return " ".join(text.split()).replace("|", "&#124;")
