"""``vmkeep doctor``: the whole installation, each check with what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

import click

from vmkeep.cli import settings
from vmkeep.cli.bars import progress_counts
from vmkeep.cli.configuration import value_of
from vmkeep.cli.options import (
    catalog_url,
    given_limit,
    json_option,
    location_from,
    repository_option,
    vcenter_from,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, own_log, own_output, print_json
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.passphrases import given_passphrase
from vmkeep.errors import MissingExtraError, UnfitError, UsageError
from vmkeep.extras import how_to_install
from vmkeep.model.job import Progress
from vmkeep.model.site import Site, parse_drivers
from vmkeep.model.wording import counted

if TYPE_CHECKING:
    from vmkeep.flows.doctor import Check, Report, Subject

MORE_SUBJECTS = "vmkeep.doctor"
"""Entry points of this group return further subjects, such as Airflow's connections and pools."""


@command(
    "doctor",
    examples={
        "Check what the settings name, on a proxy": "vmkeep doctor",
        "Check Airflow's connections and pools, too, on the hub": "vmkeep doctor --airflow",
        "Give a monitoring system the findings": "vmkeep doctor --json",
    },
)
@option("--airflow", section=Section.WHAT, is_flag=True, help="Check Airflow's connections and pools, too.")
@repository_option
@vsphere_options
@vddk_option
@json_option
def doctor(airflow: bool, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Check the installation from end to end, and say what to do.

    Each check ends as ok, warning, fault or not known. Run it on every proxy, as the user of its worker, because ports,
    VDDK and LVM are those of the machine. Nothing is changed in a vCenter. In the repository a small probe is written
    and removed again. The exit code is 0 if there is no fault.
    """
    from vmkeep.flows.doctor import examine  # takes time to import

    with own_output():
        subjects = [*_own(repository, vddk, vsphere, others=airflow), *(_of_airflow() if airflow else ())]
        total = sum(len(subject.names) for subject in subjects)
        with progress_counts("check", hidden=as_json) as show:
            report = examine(subjects, _counting(show, total))
    if as_json:
        print_json({"fit": report.fit, "counts": report.counts, "checks": report.checks})
    else:
        _tell(report)
    if not report.fit:
        raise UnfitError(f"the doctor found {counted(report.counts['fault'], 'fault')}")


def _own(
    repository: str | None, vddk: str | None, vsphere: dict[str, str | None], *, others: bool
) -> Iterable[Subject]:
    """Yield what the options and settings name. What they do not name is not known, unless others name it."""
    from vmkeep.flows.doctor import machine_subject, repository_subject, vcenter_subject
    from vmkeep.flows.repositories import cache_folder, open_repository

    drivers = parse_drivers(value_of(settings.DISK_DRIVERS))
    if vsphere["vcenter"]:
        proxy = bool(vddk or drivers)
        yield _named("vCenter", lambda: vcenter_subject(vcenter_from(**vsphere), vddk=vddk or None, proxy=proxy))
    elif not others:
        yield _unnamed("vCenter", settings.VCENTER)
    if repository:
        location, passphrase, rate = location_from(repository), given_passphrase(), given_limit()
        yield repository_subject(
            location,
            lambda: open_repository(location, passphrase=passphrase, limit_rate=rate),
            catalog=catalog_url(),
        )
    elif not others:
        yield _unnamed("repository", settings.REPOSITORY)
    yield machine_subject(Site(repository="", vddk=vddk or None, disk_drivers=drivers), cache=cache_folder())


def _named(kind: str, make: Callable[[], Subject]) -> Subject:
    """Return a subject, or one that tells why its settings are of no use."""
    from vmkeep.flows.doctor import Answer, State, Subject

    try:
        return make()
    except UsageError as error:
        told = Answer(state=State.FAULT, text=str(error), remedy="see 'vmkeep config show'")
        return Subject(about=kind, names=("settings",), ask=lambda answers: answers.add("settings", told))


def _unnamed(kind: str, setting: settings.Setting) -> Subject:
    from vmkeep.flows.doctor import Answer, State, Subject

    told = Answer(
        state=State.UNKNOWN,
        text=f"no {kind} is named, so that none was looked at",
        remedy=f"give {setting.option}, or set {setting.variable}",
    )
    return Subject(about=kind, names=("settings",), ask=lambda answers: answers.add("settings", told))


def _of_airflow() -> Sequence[Subject]:
    """Return what packages for Airflow add.

    :raises MissingExtraError: there is no such package.
    """
    with own_log():
        found = [subject for entry in metadata.entry_points(group=MORE_SUBJECTS) for subject in entry.load()()]
    if not found:
        raise MissingExtraError(f"--airflow: Airflow's part of vmkeep is not installed: {how_to_install('airflow')}")
    return found


def _counting(show: Callable[[Progress], None], total: int) -> Callable[[Check], None]:
    """Return what moves the bar by one for each name of a check that got an answer."""
    seen: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def count(check: Check) -> None:
        with lock:
            seen.add((check.about, check.name))
            show(Progress(phase="examine", bytes_done=len(seen), bytes_total=total))

    return count


def _tell(report: Report) -> None:
    about = None
    for alike in _alike(report.checks):
        check = alike[0]
        if check.about != about:
            click.echo(one_line(check.about))
            about = check.about
        names = ", ".join(each.name for each in alike)
        click.echo(f"  {check.state.upper():<9}  {names}: {one_line(check.text)}")
        if check.remedy:
            click.echo(f"             → {one_line(check.remedy)}")
    click.echo(", ".join(f"{number} {state}" for state, number in report.counts.items() if number))


def _alike(checks: Sequence[Check]) -> list[list[Check]]:
    """Group checks that follow one another and say the same, as all do that one failure has kept from being asked."""
    groups: list[list[Check]] = []
    for check in checks:
        if groups and groups[-1][0].name != check.name and replace(check, name=groups[-1][0].name) == groups[-1][0]:
            groups[-1].append(check)
        else:
            groups.append([check])
    return groups
