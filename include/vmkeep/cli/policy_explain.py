"""``vmkeep policy explain``: which policy takes a VM and why, and which VMs no policy takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.flows.policies import Coverage, coverage, explain_vm
from vmkeep.model.selector import shown_name
from vmkeep.model.site import VCenter
from vmkeep.model.wording import agreeing, counted
from vmkeep.policy import Policy, PolicyFile, Taking, Verdict

if TYPE_CHECKING:
    from vmkeep.flows.pointlist import PointOrigin

_WORDS = {
    Taking.TAKEN: "takes it",
    Taking.EXCLUDED: "excludes it",
    Taking.NOT_SELECTED: "does not select it",
}


def explain_one(
    files: Sequence[PolicyFile], vcenter: VCenter, vm_selector: str, points: Sequence[PointOrigin], *, as_json: bool
) -> None:
    """Print the answer of each policy to a VM, and all fields of those that take it."""
    explained = explain_vm(vcenter, _sound(files), vm_selector, points)
    taken = [read for read in files if read.policy and read.policy.name in explained.coverage.policies]
    if as_json:
        document = {"fields": {read.path.stem: _fields_of(read) for read in taken}}
        print_json(
            {
                **_plain(explained.coverage),
                "inventory_path": explained.path,
                "verdicts": [_verdict(each) for each in explained.verdicts],
                **document,
            }
        )
        return
    click.echo(f"{shown_name(explained.coverage.name)} ({explained.coverage.moref}): {_told(explained.coverage)}")
    click.echo(one_line(f"  inventory path: {explained.path}"))
    for each in sorted(explained.verdicts, key=lambda verdict: list(Taking).index(verdict.taking)):
        click.echo(one_line(f"  {each.policy} {_WORDS[each.taking]}: {each.selector}"))
        if len(each.conditions) > 1:
            for condition, fits in each.conditions:
                click.echo(one_line(f"    {condition} {'fits' if fits else 'does not fit'}"))
    for read in taken:
        click.echo(f"\n{read.path}")
        print_table(
            ("field", "value", ""),
            [(row["field"], row["value"], row["from"]) for row in _fields_of(read)],
            none="the policy has no field",
        )


def explain_all(
    files: Sequence[PolicyFile], vcenter: VCenter, points: Sequence[PointOrigin], *, unprotected: bool, as_json: bool
) -> None:
    """Print all VMs with their policies, or those that no policy takes."""
    every = coverage(vcenter, _sound(files), points)
    listed = [vm for vm in every if not (unprotected and vm.policies)]
    if as_json:
        print_json([_plain(vm) for vm in listed])
    else:
        rows = [(vm.moref, shown_name(vm.name), ", ".join(vm.policies), _state(vm)) for vm in listed]
        print_table(
            ("moref", "name", "policy", "state"),
            rows,
            none="no VM is without a policy" if unprotected else "vSphere shows no VM to this user",
        )
    left = sum(not vm.policies for vm in every)
    conflicts = sum(len(vm.policies) > 1 for vm in every)
    if left:
        warn(f"no policy takes {counted(left, 'VM')} of {len(every):,}")
    if conflicts:
        warn(f"several policies select {counted(conflicts, 'VM')} of {len(every):,}: the first one named backs it up")


def _sound(files: Sequence[PolicyFile]) -> list[Policy]:
    return [read.policy for read in files if read.policy is not None]


def _told(vm: Coverage) -> str:
    if not vm.policies:
        return "no policy takes it"
    policy, *others = vm.policies
    left = f"; {' and '.join(others)} {agreeing(len(others), 'leaves', 'leave')} it to {policy}" if others else ""
    return f"policy {policy}{left}"


def _state(vm: Coverage) -> str:
    words = (
        "" if vm.policies else "unprotected",
        f"left to {vm.policies[0]}" if len(vm.policies) > 1 else "",
        f"not protectable: {vm.not_protectable}" if vm.not_protectable else "",
        f"managed by {vm.managed_by}" if vm.managed_by else "",
    )
    return ", ".join(filter(None, words)) or "ok"


def _plain(vm: Coverage) -> dict[str, Any]:
    return {
        "moref": vm.moref,
        "name": vm.name,
        "policy": vm.policies[0] if vm.policies else None,
        "policies": list(vm.policies),
        "conflict": len(vm.policies) > 1,
        "not_protectable": vm.not_protectable,
        "managed_by": vm.managed_by,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "policy": verdict.policy,
        "verdict": verdict.taking.value,
        "selector": verdict.selector,
        "conditions": [{"condition": condition, "fits": fits} for condition, fits in verdict.conditions],
    }


def _fields_of(read: PolicyFile) -> list[dict[str, Any]]:
    return list(_fields(read.settled, (), read.given))


def _fields(
    group: Mapping[str, Any], path: tuple[str, ...], given: frozenset[tuple[str | int, ...]]
) -> Iterator[dict[str, Any]]:
    """Yield each field with its value, and whether the file says it."""
    for key, value in group.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, (*path, key), given)
        else:
            yield {
                "field": ".".join((*path, key)),
                "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
                "from": "" if (*path, key) in given else "default",
            }
