"""``vmkeep host``: back up the configurations of ESXi hosts, list them, and write them to files again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import (
    catalog_url,
    json_option,
    open_given,
    repository_option,
    site_from,
    vcenter_from,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import CorruptError
from vmkeep.flows import host_points
from vmkeep.model.hostconfig import BUNDLE
from vmkeep.model.job import to_plain
from vmkeep.model.point import RestorePoint
from vmkeep.model.wording import size


@click.group(cls=Verbs)
def host() -> None:
    """Back up the configurations of ESXi hosts, list them, and write them to files."""


@host.command(
    "backup",
    examples={
        "Back up the configuration of every host of a vCenter": "vmkeep host backup",
        "Back up two hosts": "vmkeep host backup esx01.example.com esx02.example.com",
    },
)
@click.argument("hosts", metavar="[HOST…]", nargs=-1)
@repository_option
@vsphere_options
@json_option
def backup(hosts: tuple[str, ...], repository: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Back up the configuration bundles of ESXi hosts, each as a restore point.

    HOST is a name as vSphere lists it, a managed object id or a hardware UUID; without one, every host is taken. A
    host that fails stops no other; the exit code is 14 then. No VM is touched, and VDDK is not needed.
    """
    from vmkeep.flows.host_configs import HostBackupRequest, HostResult, back_up_hosts  # takes time to import

    def tell(result: HostResult) -> None:
        click.echo(one_line(f"{result.name}: {result.point or f'failed: {result.problem}'}"), err=True)
        for warning in result.warnings:
            warn(f"{result.name}: {warning}")

    site = replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere), catalog=catalog_url())
    done = back_up_hosts(site, HostBackupRequest(run=f"cli-{uuid.uuid4().hex[:12]}", hosts=hosts), on_result=tell)
    if as_json:
        print_json({"hosts": [to_plain(result) for result in done.results]})
    else:
        print_table(
            ("host", "end", "product", "lockdown", "point", "size"),
            [
                (
                    result.name, result.state if result.point else f"{result.state} ({result.error})", result.product,
                    result.lockdown or "", result.point or "", size(result.bundle_bytes) if result.point else "",
                )
                for result in done.results
            ],
        )  # fmt: skip
    done.require_all()


@host.command(
    "list",
    examples={
        "List the hosts with the newest point of each": "vmkeep host list",
        "List all points of one host": "vmkeep host list --host esx01.example.com",
    },
)
@option("--host", "name", section=Section.WHAT, metavar="HOST", help="All points of this host: name, UUID or key.")
@repository_option
@json_option
def list_hosts(repository: str | None, name: str | None, as_json: bool) -> None:
    """List the hosts whose configurations are backed up, with the newest restore point of each.

    The product tells which build of ESXi a bundle belongs to, because only this build restores it. The exit code is 90
    when a point cannot be read.
    """
    with open_given(repository) as opened:
        if name is not None:
            read = host_points.points_of(opened, name)
            found = [(point, 1) for point in read if not isinstance(point, CorruptError)]
            problems = [str(point) for point in read if isinstance(point, CorruptError)]
        else:
            hosts = host_points.list_hosts(opened)
            found = [(host.newest, host.points) for host in hosts if host.newest is not None]
            problems = [host.problem for host in hosts if host.newest is None]
    if as_json:
        print_json([_document(point, points) for point, points in found])
    else:
        _print(found, counted=name is None)
    for problem in problems:
        warn(problem)
    if problems:
        raise CorruptError(f"{len(problems)} of the newest points of hosts cannot be read: {problems[0]}")


def _document(point: RestorePoint, points: int) -> dict[str, object]:
    return {
        "host": point.vm.name,
        "key": point.vm.key,
        "ref": point.ref,
        "taken_at": point.taken_at,
        "points": points,
        "vcenter": point.vm.vcenter,
        "server": point.vm.server,
        "moref": point.vm.moref,
        **(to_plain(point.host) if point.host is not None else {}),
        "bundle_bytes": point.attachment_sizes.get(BUNDLE),
        "warnings": list(point.warnings),
    }


def _print(found: Sequence[tuple[RestorePoint, int]], *, counted: bool) -> None:
    zone = shown_zone()
    rows = [
        (
            point.vm.name, point.vm.server or "", shown_second(point.taken_at, zone),
            point.host.product if point.host else "", size(point.attachment_sizes.get(BUNDLE, 0)),
            *((points,) if counted else ()), point.ref,
        )
        for point, points in found
    ]  # fmt: skip
    when = "newest point at" if counted else "taken at"
    print_table(("host", "server", when, "product", "size", *(("points",) if counted else ()), "point"), rows)


@host.command(
    "export",
    examples={"Write the newest bundle of a host to a file": "vmkeep host export esx01.example.com esx01.tgz"},
)
@click.argument("which", metavar="HOST|POINT", shell_complete=complete_points)
@click.argument("out", metavar="OUT.tgz", type=click.Path(path_type=Path))
@option("--force", section=Section.WHAT, is_flag=True, help="Replace OUT.tgz if it exists.")
@repository_option
@json_option
def export(which: str, out: Path, force: bool, repository: str | None, as_json: bool) -> None:
    """Write the configuration bundle of a host to a file, which only you can read.

    HOST is a host's name, hardware UUID or key, and means its newest point; POINT is a ref, as 'host list' prints it.
    The bundle is restored on the host itself, in maintenance mode and under the same build of ESXi: see
    docs/operations.md. It holds the host's keys and password digests.
    """
    with open_given(repository) as opened:
        exported = host_points.export(opened, which, out, overwrite=force)
    point = exported.point
    if as_json:
        print_json({"point": point.ref, "file": str(out), "bytes_written": exported.bytes_written,
                    "host": point.vm.name, **to_plain(point.host)})  # fmt: skip
        return
    product = point.host.product if point.host is not None else "an unknown release"
    click.echo(f"{out}: {size(exported.bytes_written)}, the configuration of {point.vm.name} under {product}")
