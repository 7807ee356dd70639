"""``vmkeep host``: back up the configurations of ESXi hosts, list them, and write them to files again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from vmkeep.cli.output import one_line, print_json, print_line, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.times import shown_second, shown_time, shown_zone
from vmkeep.errors import AuthenticationError, CertificateError, CorruptError, UnreachableError
from vmkeep.flows import host_points
from vmkeep.model.hostconfig import BUNDLE
from vmkeep.model.job import to_plain
from vmkeep.model.wording import age, counted, size

if TYPE_CHECKING:
    from vmkeep.flows.host_list import ListedHost


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
            none="no host was backed up",
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
@vsphere_options
@json_option
def list_hosts(repository: str | None, name: str | None, as_json: bool, **vsphere: str | None) -> None:
    """List the hosts whose configurations are backed up, with the newest restore point of each.

    If a vCenter is given, all of its hosts are listed with their states, also those without a point. The product tells
    which build of ESXi a bundle belongs to, because only this build restores it. The exit code is 90 when a newest
    point cannot be read.
    """
    if name is not None:
        _list_points(repository, name, as_json=as_json)
        return
    from vmkeep.flows import host_list  # takes time to import

    with open_given(repository) as opened:
        try:
            hosts = host_list.list_with_points(opened, vcenter_from(**vsphere) if vsphere["vcenter"] else None)
        except (UnreachableError, CertificateError, AuthenticationError) as error:
            warn(f"the list goes without the hosts of the vCenter: {error}")
            hosts = host_list.list_with_points(opened, None)
    if as_json:
        print_json(list(hosts))
    else:
        _print_hosts(hosts)
    problems = [listed.problem for listed in hosts if listed.problem]
    for problem in problems:
        warn(problem)
    if problems:
        raise CorruptError(f"the newest point of {counted(len(problems), 'host')} cannot be read: {problems[0]}")


def _print_hosts(hosts: Sequence[ListedHost]) -> None:
    zone = shown_zone()
    rows = [
        (
            listed.name, _state(listed), listed.product or "",
            shown_time(listed.last_point_at, zone) if listed.last_point_at else "none",
            "" if listed.last_point_age_seconds is None else age(listed.last_point_age_seconds),
            listed.points, listed.last_point or "",
        )
        for listed in hosts
    ]  # fmt: skip
    headings = ("host", "state", "product of the bundle", f"newest point ({zone})", "age", "points", "point")
    print_table(headings, rows, first_to_go=("age", "points"), none="no host is seen, and no point of one is kept")


def _state(listed: ListedHost) -> str:
    """Return a host's state, with all that a backup or a restore may meet."""
    lockdown = (f"in lockdown ({listed.lockdown})",) if listed.lockdown else ()
    other = () if listed.restorable_as_it_is else (f"runs build {listed.runs_build} now",)
    return ", ".join((*((listed.state,) if listed.state else ()), *lockdown, *other))


def _list_points(repository: str | None, name: str, *, as_json: bool) -> None:
    """List all points of one host, oldest first."""
    with open_given(repository) as opened:
        read = host_points.points_of(opened, name)
    found = [point for point in read if not isinstance(point, CorruptError)]
    if as_json:
        print_json([{"ref": point.ref, **to_plain(point)} for point in found])
    else:
        zone = shown_zone()
        rows = [
            (
                shown_second(point.taken_at, zone), point.vm.server or "", point.host.product if point.host else "",
                size(point.attachment_sizes.get(BUNDLE, 0)), point.ref,
            )
            for point in found
        ]  # fmt: skip
        print_table(
            (f"taken at ({zone})", "server", "product", "size", "point"), rows, none="no point of this host can be read"
        )
    damaged = [point for point in read if isinstance(point, CorruptError)]
    for error in damaged:
        warn(str(error))
    if damaged:
        raise damaged[0]


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
    docs/operations/esxi-hosts.md. It holds the host's keys and password digests.
    """
    with open_given(repository) as opened:
        exported = host_points.export(opened, which, out, overwrite=force)
    point = exported.point
    if as_json:
        print_json({"point": point.ref, "file": str(out), "bytes_written": exported.bytes_written,
                    "host": point.vm.name, **to_plain(point.host)})  # fmt: skip
        return
    product = point.host.product if point.host is not None else "an unknown release"
    print_line(f"{out}: {size(exported.bytes_written)}, the configuration of {point.vm.name} under {product}")
