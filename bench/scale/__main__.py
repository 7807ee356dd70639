"""Backs up many small VMs in one window of Airflow, with a look at everything once a second.

    python -m bench.scale [--vms 1000] [--at-once 8] [--out DIR]

Needs PostgreSQL from Debian's packages, and root, because the database runs as a user of its own. With 1000 VMs it
takes some 45 minutes on two quiet cores. It writes ``samples.jsonl`` as it goes, and at the end ``result.json``,
``result.md`` and ``plot.svg``. Whatever happens, it stops what it has started, and removes the folder that it worked
in.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.measure import say
from bench.programs import machine, versions
from bench.scale.judging import Outcome, promises
from bench.scale.plot import Panel, svg
from bench.scale.sampling import Sample, Sampler, calls_between, sampling
from bench.scale.site import WINDOW, RunningSite, Size, running_site
from demo.api import FINAL
from vmkeep.repository import open_repository

_ASK_SECONDS = 5.0


def main() -> int:
    """Run the benchmark. Return 0 if the window kept every promise that does not depend on the machine."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped and removed
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # because it runs for hours, and the terminal may be closed
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # because a site keeps compiled modules
    size = Size(
        vms=options.vms, disk_mib=options.disk_mib, data_mib=options.data_mib, backups_at_once=options.at_once,
        copies_at_once=options.copies, nfc_sessions=options.nfc_sessions, parallelism=options.parallelism,
    )  # fmt: skip
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="vmkeep-scale-", dir=options.folder))
    load = os.getloadavg()[0]
    try:
        with running_site(folder, size) as site:
            outcome = _window(site, out, hours=options.hours)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {"machine": machine(), "load before": f"{load:.1f}", **versions()}
    seen = _write(outcome, out, about)
    print("\n".join([*seen, "", f"written to {out}"]))
    return 0 if outcome.window == "success" and sum(outcome.points.values()) >= size.vms else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=1000)
    parser.add_argument("--disk-mib", type=int, default=64, help="size of each VM's disk")
    parser.add_argument("--data-mib", type=int, default=1, help="data of each VM's disk, at least 1")
    parser.add_argument("--at-once", type=int, default=8, help="the policy's limit of backups at the same time")
    parser.add_argument("--copies", type=int, default=4, help="slots of the proxy's pool")
    parser.add_argument("--nfc-sessions", type=int, default=4, help="sessions that a simulated host allows")
    parser.add_argument("--parallelism", type=int, default=6, help="tasks that Airflow runs at the same time")
    parser.add_argument("--hours", type=float, default=6.0, help="give up then")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="room for the work")  # noqa: S108
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 - a name of a folder, for a person here
    parser.add_argument("--out", type=Path, default=Path("var") / "bench" / f"scale-{stamp}", help="results")
    return parser.parse_args()


def _window(site: RunningSite, out: Path, *, hours: float) -> Outcome:
    """Start the window, look at it until it ends, and ask what it has reached."""
    end = time.monotonic() + hours * 3600
    while not (site.api.knows("vm_backup") and _is_read(site)):
        site.airflow.check()
        time.sleep(1.0)
    with sampling(site, out / "samples.jsonl") as sampler:
        site.api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": False})  # its window is open
        run = _run_of_window(site)
        say(f"the window is open: {run}")
        state = _wait(site, sampler, run, end)
        time.sleep(3.0)  # one more look, when all is over
    report = site.api.xcom(WINDOW, run, "report") if state in FINAL else {}
    return Outcome(size=site.size, samples=sampler.samples, report=report or {}, window=state, points=_points(site))


def _is_read(site: RunningSite) -> bool:
    """Return whether Airflow has read the policy's file."""
    found = site.api.call("GET", f"/api/v2/dags?dag_id_pattern={WINDOW}&exclude_stale=false")["dags"]
    return any(dag["dag_id"] == WINDOW for dag in found)


def _run_of_window(site: RunningSite) -> str:
    """Return the id of the run that Airflow makes for the open window."""
    while not (runs := site.api.call("GET", f"/api/v2/dags/{WINDOW}/dagRuns?limit=1")["dag_runs"]):
        site.airflow.check()
        time.sleep(1.0)
    return str(runs[0]["dag_run_id"])


def _wait(site: RunningSite, sampler: Sampler, run: str, end: float) -> str:
    while (state := site.api.state(WINDOW, run)) not in FINAL:
        site.airflow.check()
        if sampler.broken is not None:
            raise SystemExit(f"the site cannot be looked at any more: {sampler.broken}")
        if time.monotonic() > end:
            say(f"given up: the window is still {state}")
            break
        time.sleep(_ASK_SECONDS)
    return state


def _points(site: RunningSite) -> dict[str, int]:
    """Return the number of restore points in the repository, by the VM's name."""
    with open_repository(site.repository) as repository:
        return dict(Counter(point.vm.name for point in repository.points()))


def _write(outcome: Outcome, out: Path, about: dict[str, str]) -> list[str]:
    """Write the results, and return the lines of the table."""
    lines = [
        *(f"- {name}: {value}" for name, value in about.items()),
        f"- {outcome.size.vms} VMs, {outcome.size.backups_at_once} backups at once: {outcome.seconds:.0f} s",
        f"- CPU seconds: {', '.join(f'{kind} {spent:.0f}' for kind, spent in outcome.cpu.items())}",
        f"- CPU seconds of a VM: {_three(outcome)}",
        f"- vCenter calls: {', '.join(f'{method} {count}' for method, count in list(outcome.calls.items())[:12])}",
        f"- most sessions with the vCenter: {outcome.most('sessions')}",
        "",
        "| promise | wanted | seen |",
        "|---|---|---|",
        *(
            f"| {one.what} | {one.wanted} | {one.seen if one.kept else f'**{one.seen}**'} |"
            for one in promises(outcome)
        ),
    ]
    (out / "result.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (out / "result.json").write_text(json.dumps({"about": about, **_plain(outcome)}, indent=1), encoding="utf-8")
    samples = outcome.samples
    (out / "plot.svg").write_text(svg([sample.seconds for sample in samples], _panels(outcome)), encoding="utf-8")
    return lines


def _three(outcome: Outcome) -> str:
    all_of_it, copying, rest = outcome.cpu_of_a_vm, outcome.copying_of_a_vm, outcome.cpu_outside_of_copying
    return f"all {all_of_it:.2f}, copying {copying:.2f}, outside of copying {rest:.2f}"


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "vms": outcome.size.vms,
        "seconds": outcome.seconds,
        "window": outcome.window,
        "cpu": outcome.cpu,
        "cpu_of_a_vm": outcome.cpu_of_a_vm,
        "copying_of_a_vm": outcome.copying_of_a_vm,
        "cpu_outside_of_copying": outcome.cpu_outside_of_copying,
        "calls": outcome.calls,
        "calls_of_a_vm": outcome.calls_of_a_vm,
        "most_snapshots": outcome.most("snapshots"),
        "most_nfc_sessions_of_a_host": outcome.most_nfc,
        "promises": [asdict(one) for one in promises(outcome)],
        "report": {name: value for name, value in outcome.report.items() if name != "done"},
    }


def _panels(outcome: Outcome) -> list[Panel]:
    samples = outcome.samples
    rates = _rates(samples)
    return [
        Panel(
            title="VMs with an open snapshot",
            curves={"snapshots": [sample.snapshots for sample in samples]},
            limit=outcome.size.backups_at_once,
        ),
        Panel(
            title="NFC sessions of a host",
            curves={"most of a host": [max(sample.nfc.values(), default=0) for sample in samples]},
            limit=outcome.size.nfc_sessions,
        ),
        Panel(
            title="Backups",
            curves={state: [sample.runs.get(state, 0) for sample in samples] for state in ("success", "failed")},
        ),
        Panel(
            title="Backups and tasks that run",
            curves={
                "backups": [sample.runs.get("running", 0) for sample in samples],
                "tasks": [sample.tasks.get("running", 0) for sample in samples],
            },
        ),
        Panel(title="CPU seconds per second", curves=rates),
        Panel(title="vCenter calls per second", curves={"calls": _per_second(samples)}),
        Panel(
            title="Scheduler's memory, MiB", curves={"resident": [sample.scheduler_bytes / 2**20 for sample in samples]}
        ),
    ]


def _rates(samples: Sequence[Sample]) -> dict[str, list[float]]:
    kinds = ("tasks", "api-server", "scheduler", "dag-processor", "postgres", "lab")
    spent = {kind: [sample.cpu[kind] for sample in samples] for kind in kinds}
    spent["copying"] = [sample.copying for sample in samples]
    seconds = [max(after.seconds - before.seconds, 0.1) for before, after in pairwise(samples)]
    return {kind: [0.0, *_over(pairwise(totals), seconds)] for kind, totals in spent.items()}


def _over(looks: Iterable[tuple[float, float]], seconds: Sequence[float]) -> Iterator[float]:
    for (before, after), lasted in zip(looks, seconds, strict=True):
        yield max(0.0, after - before) / lasted  # a process that ends between two reads is missing for a moment


def _per_second(samples: Sequence[Sample]) -> list[float]:
    return [
        0.0,
        *(
            calls_between(before, after).total() / max(after.seconds - before.seconds, 0.1)
            for before, after in pairwise(samples)
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
