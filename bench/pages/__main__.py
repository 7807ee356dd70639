"""Measures the pages of the web view at the size of a large site.

    python -m bench.pages [--vms 5000] [--nights 40] [--browser DIR]

A real API server of Airflow answers, on a PostgreSQL of its own with as many restore points and DAG runs as that many
nights leave. Each page is called several times. The table says what its columns are: seconds, and also CPU seconds,
statements, rows and blocks, because seconds of a busy machine tell little. ``--explain`` lists the statements that read
most. ``--browser`` shows each page in Chromium, too, and keeps pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from bench.pages.airflowrows import PLANNING
from bench.pages.browser import look_at
from bench.pages.meter import BrokenPageError, Cost, Meter
from bench.pages.site import PagesSite, pages_site
from bench.programs import machine
from bench.quality import name_of
from vmkeep.clock import now


def paths_of(site: PagesSite, vms: int, nights: int, at: datetime) -> Iterator[tuple[str, str]]:
    """Yield the pages, each with its path."""
    older, newer = site.points
    day = at.astimezone(UTC).date()
    point = f"5-{name_of(vms // 2)}"
    volumes = site.api.call("GET", f"/vmkeep/api/files/{newer}")["volumes"]
    yield "Fleet, the worst first", "/vmkeep/fleet"
    yield "Fleet, searched", f"/vmkeep/fleet?q={vms // 2:012d}"
    yield "Fleet, by size, page 20", "/vmkeep/fleet?sort=stored&order=down&page=20"
    yield "Fleet as data", "/vmkeep/api/fleet"
    yield "VM", f"/vmkeep/vms/{name_of(vms // 2)}"
    yield "VM, older points", f"/vmkeep/vms/{name_of(vms // 2)}?first={nights // 2}"
    yield "point found by its id", f"/vmkeep/points/{point}"
    yield "run of a point", f"/vmkeep/runs/{point}"
    yield "hardware at two points", f"/vmkeep/hardware?from={older}&to={newer}"
    yield "warnings of a point", f"/vmkeep/warnings/{newer}"
    yield "wizard: what", f"/vmkeep/restore/{newer}"
    yield "wizard: a new VM", f"/vmkeep/restore/{newer}/new"
    yield "wizard: plan", f"/vmkeep/restore-plans/vm_restore/{quote(PLANNING)}"
    yield "files: volumes", f"/vmkeep/files/{newer}"
    yield "files: a folder", f"/vmkeep/files/{newer}?volume={quote(volumes[0]['key'])}"
    yield "Running now", "/vmkeep/running"
    yield "Windows, today", "/vmkeep/windows"
    yield "Windows, a week ago", f"/vmkeep/windows?day={day - timedelta(days=7)}"
    yield "Policies", "/vmkeep/policies"
    yield "Repositories", "/vmkeep/repositories"
    yield "Recoveries", "/vmkeep/recoveries"
    yield "Who did what", "/vmkeep/audit"
    yield "Who did what, a VM, with all runs", f"/vmkeep/audit?by_itself=true&days=30&about={name_of(vms // 2)}"


def line_of(cost: Cost) -> str:
    """Return a row of the table."""
    return (
        f"| {cost.name} | {cost.median:.3f} | {cost.first:.3f} | {cost.server:.3f} | {cost.postgres:.3f} | "
        f"{cost.count:.0f} | {cost.rows:,.0f} | {cost.blocks:,.0f} | {cost.size / 1024:,.0f} |"
    )


def main() -> None:
    """Start the site, and measure its pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--nights", type=int, default=40, help="points and runs of each VM")
    parser.add_argument("--times", type=int, default=5, help="calls of each page")
    parser.add_argument("--explain", type=int, default=0, metavar="N", help="list the N dearest statements of a page")
    parser.add_argument("--browser", type=Path, metavar="DIR", help="show each page in Chromium; pictures go there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--keep", action="store_true", help="for each line that is typed, start the API server anew and measure again"
    )
    given = parser.parse_args()
    at = now()
    with (
        tempfile.TemporaryDirectory(prefix="vmkeep-pages-", dir="/var/tmp") as folder,
        pages_site(Path(folder), vms=given.vms, nights=given.nights, now=at) as site,
    ):
        paths = list(paths_of(site, given.vms, given.nights, at))
        print(f"{given.vms:,} VMs, {given.vms * given.nights:,} points and runs, {machine()}\n")
        costs = _measured(site, paths, given.times, given.explain)
        if given.browser:
            look_at(site, paths, given.browser)
        if given.json:
            given.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1), encoding="utf-8")
        while given.keep and sys.stdin.readline():
            site.restart()
            _measured(site, paths, given.times, given.explain)
            if given.browser:
                look_at(site, paths, given.browser)


def _measured(site: PagesSite, paths: list[tuple[str, str]], times: int, explain: int) -> list[Cost]:
    print(
        "Seconds from the request to the last byte of the answer: of the first call, and the median of those after.\n"
        "The other columns are of one call after the first: CPU seconds of the API server and of PostgreSQL, SQL\n"
        "statements, rows that they returned, blocks of 8 KiB that PostgreSQL looked at, and the size of the answer.\n"
    )
    print(
        "| page | seconds | seconds, first call | CPU seconds, API server | CPU seconds, PostgreSQL | statements | "
        "rows | blocks | KiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    costs = []
    for name, path in paths:
        try:
            cost = Meter(site).measure(name, path, times)
        except BrokenPageError as error:
            print(f"    {name} is broken: {error}", flush=True)
            continue
        costs.append(cost)
        print(line_of(cost), flush=True)
        for each in cost.statements[:explain]:
            print(f"    {each.calls:.0f} calls, {each.rows:.0f} rows, {each.blocks:.0f} blocks: {each.query}")
    return costs


if __name__ == "__main__":
    main()
