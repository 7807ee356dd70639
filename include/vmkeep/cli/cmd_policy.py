"""``vmkeep policy``: backup policies, checked and explained before they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.known_points import known_origins
from vmkeep.cli.options import (
    catalog_url,
    json_option,
    open_given,
    policies_option,
    repository_option,
    site_from,
    vcenter_from,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.policy_explain import explain_all, explain_one
from vmkeep.cli.policy_folder import read_policies
from vmkeep.cli.policy_overdue import tell_overdue
from vmkeep.cli.policy_unproved import tell_unproved
from vmkeep.cli.times import shown_time
from vmkeep.clock import now
from vmkeep.errors import PolicyError, UsageError
from vmkeep.flows.policies import named_policies
from vmkeep.model.wording import counted
from vmkeep.policy import PolicyFile, schema_text
from vmkeep.retention import parse_zone

_FIRST_TO_GO = ("repository", "owner", "next window")
"""Columns that a narrow terminal does without, in this order."""


@click.group(cls=Verbs)
def policy() -> None:
    """Check, list and explain backup policies."""


@policy.command(
    "check",
    examples={
        "Check the policies of the folder that is set": "vmkeep policy check",
        "Check one file before it is put there": "vmkeep policy check nightly.yaml",
    },
)
@click.argument("files", nargs=-1, metavar="[FILE|FOLDER]...", type=click.Path(path_type=Path))
@policies_option
@json_option
def check(files: tuple[Path, ...], policies: Path | None, as_json: bool) -> None:
    """Look for faults in policy files, and tell every one with its line and column.

    Without FILE, all files of the folder are checked. A fault ends with exit code 5.
    """
    found = _not_empty(named_policies(files), ", ".join(map(str, files))) if files else _read(policies)
    if as_json:
        print_json({"files": [_as_document(read) for read in found]})
    else:
        for line in (line for read in found for line in read.lines):
            click.echo(one_line(line))
    _end(found, as_json=as_json)


def _read(folder: Path | None) -> tuple[PolicyFile, ...]:
    return _not_empty(read_policies(folder), str(folder))


def _not_empty(found: tuple[PolicyFile, ...], where: str) -> tuple[PolicyFile, ...]:
    """Warn if a folder has no policy file, because it may be the wrong folder."""
    if not found:
        warn(f"{where}: there is no policy, and no policy backs up a VM; the name of a policy file ends with .yaml")
    return found


def _end(found: Sequence[PolicyFile], *, as_json: bool) -> None:
    faulty = [read for read in found if read.faults]
    faults = sum(len(read.faults) for read in faulty)
    if faulty:
        raise PolicyError(
            f"{counted(faults, 'fault')} in {len(faulty)} of {counted(len(found), 'policy file')}; a file with faults "
            "backs up nothing"
        )
    if not as_json:
        click.echo(f"{counted(len(found), 'policy file')}, no fault")


def _as_document(read: PolicyFile) -> dict[str, Any]:
    return {
        "file": str(read.path),
        "name": read.policy.name if read.policy else None,
        "faults": [
            {"line": fault.place.line, "column": fault.place.column, "message": fault.message} for fault in read.faults
        ],
    }


@policy.command(
    "list",
    examples={
        "List the policies": "vmkeep policy list",
        "List them for a script": "vmkeep policy list --json",
    },
)
@policies_option
@json_option
def list_policies(policies: Path | None, as_json: bool) -> None:
    """List the policies of a folder: their windows, and which VMs they select.

    A file with faults is listed, too; see 'vmkeep policy check'. The next window is that of the file: whether Airflow
    has its DAG switched on, 'vmkeep run windows' tells.
    """
    rows = [_row(read) for read in _read(policies)]
    if as_json:
        print_json(rows)
        return
    headings = ("name", "state", "priority", "window", "next window", "selection", "repository", "owner")
    print_table(headings, [_cells(row) for row in rows], first_to_go=_FIRST_TO_GO, none="there is no policy")


def _row(read: PolicyFile) -> dict[str, Any]:
    found = read.policy
    if found is None:
        return {"name": read.path.stem, "file": str(read.path), "faults": len(read.faults)}
    opening = found.window.next_opening(now())
    return {
        "name": found.name,
        "file": str(read.path),
        "faults": 0,
        "description": found.description,
        "owner": found.owner,
        "priority": found.priority,
        "selection": str(found.selection),
        "exclusions": [str(selector) for selector in found.exclusions],
        "window": str(found.window),
        "next_opening": opening.opens_at.isoformat() if opening else None,
        "next_end": opening.closes_at.isoformat() if opening else None,
        "time_zone": str(found.window.zone),
        "repository": found.repository,
        "vsphere": found.vsphere,
    }


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    if row["faults"]:
        return (row["name"], counted(row["faults"], "fault"), "", "", "", "", "", "")
    excluded = "".join(f" and not ({selector})" for selector in row["exclusions"])
    opening, zone = row["next_opening"], parse_zone(row["time_zone"])
    return (
        row["name"], "ok", row["priority"], row["window"],
        f"{shown_time(datetime.fromisoformat(opening), zone)} {zone}" if opening else "never",
        f"{row['selection']}{excluded}", row["repository"], row["owner"],
    )  # fmt: skip


@policy.command(
    "explain",
    examples={
        "See which policy takes a VM, and why": "vmkeep policy explain web01",
        "List all VMs with their policies": "vmkeep policy explain",
        "List the VMs that no policy takes": "vmkeep policy explain --unprotected",
    },
)
@click.argument("selector", metavar="[VM]", required=False, shell_complete=complete_selectors)
@option("--unprotected", section=Section.WHAT, is_flag=True, help="List only VMs that no policy takes.")
@policies_option
@repository_option
@vsphere_options
@json_option
def explain(
    selector: str | None, unprotected: bool, policies: Path | None, repository: str | None, as_json: bool,
    **vsphere: str | None,
) -> None:  # fmt: skip
    """Tell which policy takes a VM, why, and what the policy says in full.

    Without VM, all VMs of the vCenter are listed with their policies. Of several policies that select a VM, the
    first one named backs it up, and the others leave it to that one.
    If a repository is given, a VM that is off is found by the last address that its points tell.
    Every policy is compared with the vCenter that is named here, whichever connection the policy names.
    """
    if selector and unprotected:
        raise UsageError("--unprotected lists VMs: leave the VM out")
    files = _read(policies)
    _warn_of_faults(files)
    points = known_origins(repository) or ()
    if selector:
        explain_one(files, vcenter_from(**vsphere), selector, points, as_json=as_json)
    else:
        explain_all(files, vcenter_from(**vsphere), points, unprotected=unprotected, as_json=as_json)


@policy.command(
    "overdue",
    examples={
        "Tell a monitoring system whether a VM has no young good point": "vmkeep policy overdue --json",
        "Look at one policy": "vmkeep policy overdue nightly",
    },
)
@click.argument("names", metavar="[POLICY]...", nargs=-1)
@policies_option
@repository_option
@vsphere_options
@json_option
def overdue(
    names: tuple[str, ...], policies: Path | None, repository: str | None, as_json: bool, **vsphere: str | None
) -> None:
    """Name each VM whose newest good restore point is older than the max_age of its policy.

    Without POLICY, all policies that have a max_age are looked at, with the vCenter and the repository that are named
    here, whichever connections the policies name. The exit code is 14 if a VM is overdue. It needs no Airflow, so it
    also tells when Airflow is away.
    """
    files = _read(policies)
    _warn_of_faults(files)
    site = replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere), catalog=catalog_url())
    tell_overdue([read.policy for read in files if read.policy], names, site, as_json=as_json)


@policy.command(
    "unproved",
    examples={
        "Tell a monitoring system whether a VM was not proved in time": "vmkeep policy unproved --json",
        "Look at one policy": "vmkeep policy unproved nightly",
        "Miss no VM that has no restore point yet": "vmkeep policy unproved --vcenter vc01 --user backup",
    },
)
@click.argument("names", metavar="[POLICY]...", nargs=-1)
@policies_option
@repository_option
@vsphere_options
@json_option
def unproved(
    names: tuple[str, ...], policies: Path | None, repository: str | None, as_json: bool, **vsphere: str | None
) -> None:
    """Name each VM whose last proof is older than the proved_within of its policy.

    Without POLICY, all policies that have a proved_within are looked at, with the repository that is named here. A VM
    belongs to the policy that its newest point names. If a vCenter is named, the VMs that the policies take there are
    looked at, too, also those without a restore point. The exit code is 14 if a VM is named.
    """
    files = _read(policies)
    _warn_of_faults(files)
    vcenter = vcenter_from(**vsphere) if vsphere["vcenter"] else None
    with open_given(repository) as opened:
        tell_unproved(
            [read.policy for read in files if read.policy], names, opened, vcenter=vcenter, catalog=catalog_url(),
            as_json=as_json,
        )  # fmt: skip


def _warn_of_faults(files: Sequence[PolicyFile]) -> None:
    for read in files:
        if read.faults:
            faults = counted(len(read.faults), "fault")
            warn(f"{read.path}: has {faults}, so that it takes no VM: run 'vmkeep policy check'")


@policy.command(
    "schema", examples={"Keep the schema for an editor": "vmkeep policy schema > vmkeep-policy.schema.json"}
)
def schema() -> None:
    """Print the JSON schema of a policy file: every field, its meaning and its default.

    Editors that know JSON schemas check and complete policies with it.
    """
    click.echo(schema_text(), nl=False)
