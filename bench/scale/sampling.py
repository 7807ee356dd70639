"""Looks at a running site once a second, and writes each look to a file at once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil
from sqlalchemy import text

from bench.measure import say
from bench.scale.processes import of_children, own, resident
from bench.scale.site import RunningSite

EVERY_SECONDS = 1.0
_TELL_SECONDS = 30.0
_PATIENCE = 5
"""Looks in a row that may fail before the benchmark is given up."""
_COPYING = """
SELECT coalesce(sum((value ->> 'cpu_seconds')::float), 0) FROM xcom
WHERE dag_id = 'vm_backup' AND task_id = 'copy_disk' AND key = 'return_value'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the site."""

    seconds: float
    """Since the first look."""
    snapshots: int
    """VMs that have one."""
    nfc: dict[str, int]
    """Open disks, by host."""
    nfc_most: dict[str, int]
    """The most so far, also between two looks."""
    nfc_refused: int
    """Disks so far that were not opened, because a host had no session left."""
    sessions: int
    """Sessions with the vCenter."""
    calls: dict[str, int]
    """Calls of the vCenter so far, by method."""
    runs: dict[str, int]
    """Runs of ``vm_backup``, by state."""
    tasks: dict[str, int]
    """Task instances of all DAGs that have a state, by state."""
    cpu: dict[str, float]
    """CPU seconds so far, by the kind of process."""
    copying: float
    """CPU seconds so far of the processes that copy disks, which are part of those of the tasks."""
    scheduler_bytes: int
    """Resident memory of the scheduler's own process."""


class Sampler:
    """Looks at the site in a thread of its own."""

    def __init__(self, site: RunningSite, file: IO[str]) -> None:
        self._site = site
        self._file = file
        self._began = time.monotonic()
        self._told = self._began
        self._stop = threading.Event()
        self._failed = 0
        self.samples: list[Sample] = []
        self.broken: Exception | None = None
        """The reason why it has stopped looking."""

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._stop.wait(max(0.0, self._began + len(self.samples) * EVERY_SECONDS - time.monotonic())):
            try:
                self._take()
                self._failed = 0
            except Exception as error:  # noqa: BLE001 - one failed look must not end a run of hours
                self._failed += 1
                if self._failed >= _PATIENCE:
                    self.broken = error
                    return
                self._stop.wait(EVERY_SECONDS)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _take(self) -> None:
        sample = look(self._site, time.monotonic() - self._began)
        self.samples.append(sample)
        self._file.write(json.dumps(asdict(sample)) + "\n")
        self._file.flush()
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            say(f"{sample.seconds:6.0f} s: runs {sample.runs}, {sample.snapshots} snapshots, NFC sessions {sample.nfc}")


@contextmanager
def sampling(site: RunningSite, path: Path) -> Iterator[Sampler]:
    """Look at a site until the end of the body."""
    with path.open("w", encoding="utf-8") as file:
        sampler = Sampler(site, file)
        thread = threading.Thread(target=sampler.run, name="sampler")
        thread.start()
        try:
            yield sampler
        finally:
            sampler.stop()
            thread.join()


def look(site: RunningSite, seconds: float) -> Sample:
    """Look once."""
    counts = site.control.call("GET", "/counts")
    with site.database.connect() as connection:
        runs = _by_state(connection, "SELECT state, count(*) FROM dag_run WHERE dag_id = 'vm_backup' GROUP BY state")
        tasks = _by_state(
            connection, "SELECT state, count(*) FROM task_instance WHERE state IS NOT NULL GROUP BY state"
        )
        copying = connection.execute(text(_COPYING)).scalar_one()
    scheduler = psutil.Process(site.airflow.components["scheduler"].pid)
    return Sample(
        seconds=round(seconds, 1),
        snapshots=counts["vms_with_snapshots"],
        nfc=counts["nfc"],
        nfc_most=counts["nfc_most"],
        nfc_refused=counts["nfc_refused"],
        sessions=counts["sessions"],
        calls=counts["calls"],
        runs=runs,
        tasks=tasks,
        cpu={kind: round(spent, 2) for kind, spent in _cpu(site).items()},
        copying=round(copying, 2),
        scheduler_bytes=resident(scheduler),
    )


def calls_between(first: Sample, last: Sample) -> Counter[str]:
    """Return the calls of the vCenter between two looks, by method, without those that a host answers."""
    calls = Counter(last.calls) - Counter(first.calls)
    return Counter({method: count for method, count in calls.items() if not method.startswith("host.")})


def _by_state(connection: Any, statement: str) -> dict[str, int]:
    return {str(state): int(count) for state, count in connection.execute(text(statement))}


def _cpu(site: RunningSite) -> dict[str, float]:
    """Return the CPU seconds so far by kind of process. Tasks are what the scheduler has started."""
    spent: dict[str, float] = {}
    for name, component in site.airflow.components.items():
        process = psutil.Process(component.pid)
        if name == "scheduler":
            spent["tasks"], spent[name] = of_children(process), own(process)
        else:
            spent[name] = own(process) + of_children(process)
    for name, pid in (("postgres", site.postgres.process.pid), ("lab", site.lab.component.pid)):
        process = psutil.Process(pid)
        spent[name] = own(process) + of_children(process)
    spent["benchmark"] = own(psutil.Process())
    return spent
