"""``vmkeep run``: the pages *Running now* and *Windows* of an Airflow, for a shell and for a monitoring system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, TypeVar

import click

from vmkeep.cli import settings
from vmkeep.cli.options import json_option
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.secretfiles import require_typed, secret_from
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, Recovery, SomeFailedError, UsageError
from vmkeep.flows.airflow_view import AirflowAccess, AirflowView
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import counted

F = TypeVar("F", bound=Callable[..., Any])

_FIRST_TO_GO = ("host", "DAG", "left")
"""Columns that a narrow terminal does without, in this order."""
_UNLIMITED = "unlimited"
"""The rate that takes a limit away."""
_BAD = ("bad", "warn")
_NOT_TOLD = ("empty", "late", "overdue")
"""States that are no alarm: backups may be let finish after the end of a window, and a policy may take no VM."""
_OPTIONS = (
    option(
        "--airflow-url", section=Section.WHERE, setting=settings.AIRFLOW_URL, metavar="URL",
        help="Address of Airflow's pages, e.g. https://airflow.example.com.",
    ),
    option(
        "--airflow-user", section=Section.WHERE, setting=settings.AIRFLOW_USER, metavar="USER", help="Airflow's user."
    ),
    option(
        "--airflow-password-file", section=Section.WHERE, setting=settings.AIRFLOW_PASSWORD_FILE, metavar="FILE",
        help="File with the password of that user, readable by you alone.",
    ),
)  # fmt: skip


def _airflow_options(function: F) -> F:
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


class _Day(click.ParamType[str]):
    """A day of UTC, looked at before anybody logs in."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the day as Airflow's pages take it."""
        try:
            return date.fromisoformat(str(value)).isoformat()
        except ValueError:
            self.fail(f"'{value}' is no day: write e.g. 2026-11-28", param, ctx)


class _Rate(click.ParamType[str]):
    """A rate limit, looked at before anybody logs in."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the rate as it was given."""
        text = str(value)
        if text.strip() and text != _UNLIMITED:
            from vmkeep.flows.repositories import require_rate  # takes time to import

            try:
                require_rate(text)
            except UsageError as error:
                self.fail(str(error), param, ctx)
        return text


@click.group(cls=Verbs)
def run() -> None:
    """Show the work and the windows of an Airflow; stop a run, and change a rate limit while runs are at work."""


@run.command("list", examples={"Show everything that is in work now": "vmkeep run list"})
@_airflow_options
@json_option
def list_runs(as_json: bool, **airflow: str | None) -> None:
    """List the DAG runs that have not ended, with the state, the progress and the rate of each task at work.

    It tells what the page 'Running now' shows. With --json, pools, open snapshots and rate limits are there, too.
    """
    page = _view(**airflow).work()
    if as_json:
        print_json(page)
        return
    columns = ("run", "about", "task", "state", "done", "rate", "left", "host", "DAG")
    rows = [row for each in page["runs"] for row in _rows(each)]
    print_table(columns, rows, none="Nothing runs now.", first_to_go=_FIRST_TO_GO)
    if page["more"]:
        warn(f"{counted(page['more'], 'run')} more")
    for problem in page["problems"]:
        warn(problem)


@run.command(
    "stop",
    examples={"Stop a backup that 'vmkeep run list' shows": "vmkeep run stop vm_backup app01-2026-11-27"},
)
@click.argument("dag")
@click.argument("run_id", metavar="RUN")
@_airflow_options
@json_option
def stop(dag: str, run_id: str, as_json: bool, **airflow: str | None) -> None:
    """Stop a DAG run, so that it cleans up after itself; its note names who did it.

    A backup removes its snapshot and makes no restore point. A restore never leaves a VM that looks complete. A window
    starts no further backup.
    """
    stopped = _view(**airflow).stop(dag, run_id)
    if as_json:
        print_json(stopped)
    else:
        about = f" ({shown_name(stopped['about'])})" if stopped["about"] else ""
        click.echo(f"{dag} {run_id}{about} is told to end. {stopped['consequence']}")


@run.command(
    "limit",
    examples={
        "Show the rate limit of each repository": "vmkeep run limit",
        "Slow down all transfers of one, also those at work": "vmkeep run limit vmkeep_default 50MiB",
        "Let them go as fast as they can": "vmkeep run limit vmkeep_default unlimited",
    },
)
@click.argument("connection", required=False)
@click.argument("rate", required=False, type=_Rate())
@_airflow_options
@json_option
def limit(connection: str | None, rate: str | None, as_json: bool, **airflow: str | None) -> None:
    """Show the rate limits of Airflow's repositories, or change the one of a CONNECTION to a RATE.

    A rate is bytes per second for each worker machine, such as 50MiB, or one by time of day, as the connection has it;
    'unlimited' takes the limit away. Transfers at work notice a change by themselves.
    """
    if connection is not None and not (rate or "").strip():
        raise UsageError("the rate is missing: e.g. 'vmkeep run limit vmkeep_default 50MiB', or 'unlimited'")
    view = _view(**airflow)
    if connection is not None and rate is not None:
        view.change_limit(connection, "" if rate == _UNLIMITED else rate)
    limits = [each for each in view.work()["limits"] if connection in (None, each["conn_id"])]
    if connection is not None and not limits:
        raise NotFoundError(f"Airflow shows no connection {connection} of a repository: see 'vmkeep run limit'")
    if as_json:
        print_json(limits)
    else:
        rows = [(each["conn_id"], each["limit_rate"] or "unlimited", each["location"]) for each in limits]
        print_table(("connection", "rate", "location"), rows, none="Airflow shows no connection to a repository")


@run.command(
    "windows",
    examples={
        "Tell a monitoring system whether windows open and end well": "vmkeep run windows --json",
        "Show the windows of a day": "vmkeep run windows --day 2026-11-26",
    },
)
@option(
    "--day",
    section=Section.WHAT,
    metavar="DAY",
    type=_Day(),
    help="A day of UTC, e.g. 2026-11-26; by default today and yesterday.",
)
@_airflow_options
@json_option
def windows(day: str | None, as_json: bool, **airflow: str | None) -> None:
    """Show the backup windows of a day with their states, and fail if one of them needs a look.

    It also fails if Airflow's scheduler, its DAG processor or its database is not at work, because then no window
    opens, and nothing inside Airflow tells so. So a monitoring system calls it every few minutes. Without --day it
    shows the windows of yesterday, too, so that one which failed just before midnight is not forgotten.
    """
    view = _view(**airflow)
    silent, page = view.silent_components(), view.windows(day)
    yesterday = view.windows(page["before"]) if day is None else None
    rows, problems = _of_both(yesterday, page) if yesterday else (page["rows"], page["problems"])
    bad = [row for row in rows if row["tone"] in _BAD and row["state"] not in _NOT_TOLD and not _is_young(row)]
    if as_json:
        print_json({"components": silent, **page, **({"yesterday": yesterday} if yesterday else {})})
    else:
        cells = [
            (row["policy"], row["opens"]["shown"], (row["closes"] or {"shown": ""})["shown"], row["label"],
             f"{row['done']} of {row['vms']}", row["run_id"])
            for row in rows
        ]  # fmt: skip
        print_table(
            ("policy", "opens", "closes", "state", "done", "run"),
            cells,
            first_to_go=("run",),
            none="no window of these days",
        )
        for line in (*silent, *problems):
            warn(line)
    troubles = [*silent, *(f"policy {row['policy']}: {row['label']}" for row in bad), *problems]
    if troubles:
        raise SomeFailedError("; ".join(troubles), recovery=Recovery.STOP)


def _of_both(yesterday: dict[str, Any], today: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the windows and the problems of two days, each once: a window of both is as today shows it."""
    here = {_key(row) for row in today["rows"]}
    rows = [*(row for row in yesterday["rows"] if _key(row) not in here), *today["rows"]]
    return rows, list(dict.fromkeys([*yesterday["problems"], *today["problems"]]))


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["policy"], row["opens"]["iso"], row["run_id"]


def _is_young(row: dict[str, Any]) -> bool:
    """Return whether a window opened just now, so that Airflow may still be making its run."""
    from vmkeep.policy import OPENS_WITHIN

    return not row["run_id"] and datetime.fromisoformat(row["opens"]["iso"]) > now() - OPENS_WITHIN


def _rows(each: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each task of a run that is listed, or one for the run alone."""
    run_id, dag = each["run_id"], each["dag_id"]
    about = shown_name(each["about"]) if each["about"] else ""
    if each.get("only_plans"):  # an older web view does not tell
        about = f"plan: {about}"
    if not each["tasks"]:
        yield run_id, about, "", "at work" if each["is_running"] else "waits to begin", "", "", "", "", dag
    for task in each["tasks"]:
        percent = "" if task["percent"] is None else f"{task['percent']} %"
        name = shown_name(task["name"] or task["task"])
        yield run_id, about, name, task["label"], percent, task["speed"], task["left"], task["host"], dag


def _view(airflow_url: str | None, airflow_user: str | None, airflow_password_file: str | None) -> AirflowView:
    """Return the view of the Airflow that options and settings name.

    :raises UsageError: the address is missing, or nobody is named to log in.
    """
    if not airflow_url:
        raise UsageError("Airflow's address is missing: give --airflow-url or set VMKEEP_AIRFLOW_URL")
    access = AirflowAccess(
        url=airflow_url,
        user=airflow_user or None,
        password=_password(airflow_password_file),
        token=os.environ.get(settings.AIRFLOW_TOKEN.variable) or None,
    )
    if access.is_open:
        warn(f"{airflow_url} is not encrypted, so that the password can be read on the network: use https")
    return AirflowView(access)


def _password(file: str | None) -> str | None:
    if file:
        return secret_from(file, "password")
    given = os.environ.get(settings.AIRFLOW_PASSWORD.variable)
    return require_typed(given, settings.AIRFLOW_PASSWORD.variable) if given else None
