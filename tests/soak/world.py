"""Runs a soak: starts its processes, stops and kills them as scheduled, and compares all that was sealed in the end."""

from __future__ import annotations

import dataclasses
import heapq
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from tests.sealed import CHEAP, PASSPHRASE, opened
from tests.soak.actions import Site, carry_out
from tests.soak.content import BLOCK, Image
from tests.soak.schedule import Fate
from vmkeep.blobs import open_store
from vmkeep.blobs.opening import create_store
from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.images import export_image
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository.blocks import otherwriters, writer
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots

REPOSITORIES = ("source", "target")
_POLL = 0.005
_PATIENCE = 300
"""Seconds that processes have to come to an end once no more are started."""
EXPECTED = {
    "import_full": {"StaleError"},
    "import_changes": {"StaleError", "NotFoundError"},  # its parent was forgotten
    "backup": {"StaleError"},
    "copy": {"StaleError", "NotFoundError"},  # the point was forgotten
    "prune_source": {"StaleError"},  # it rewrote packs, and was taken for dead
    "prune_target": {"StaleError"},
    "merge": {"StaleError"},
}
"""Errors that are no fault, by action."""


@dataclass(slots=True)
class Result:
    """Result of a soak."""

    processes: Counter[str] = field(default_factory=Counter)
    """By action."""
    finished: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    stops: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Action and class → number."""
    lost_races: int = 0
    sealed: int = 0
    compared: int = 0
    disks: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    """Everything that must not be."""


@dataclass(slots=True)
class _Running:
    fate: Fate
    said: int
    """Descriptor of the pipe that takes the report of the process."""
    stopped: bool = False


class Soak:
    """Two repositories in a folder, and the processes at work on them."""

    def __init__(self, folder: Path, *, left_for: float, encrypted: bool) -> None:
        self.result = Result()
        self._site = Site(
            source=str(folder / "source"), target=str(folder / "target"), folder=folder / "files", left_for=left_for
        )
        self._site.folder.mkdir()
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        vars(slots)["COST"] = CHEAP
        writer.PACK_SIZE, writer.PAGE_PACK_SIZE = 8 * BLOCK, 16384
        otherwriters.WORTHWHILE, otherwriters.PATIENCE = 0, 0.05
        for which in REPOSITORIES:
            store = create_store(getattr(self._site, which))
            made = descriptor.new_descriptor(block_size=BLOCK, compression="zstd" if which == "source" else "lz4")
            if encrypted and which == "target":
                create_encrypted_in(store, made, passphrase=PASSPHRASE)
            else:
                descriptor.create(store, made)
        self._running: dict[int, _Running] = {}
        self._events: list[tuple[float, int, int, str, float]] = []
        self._order = count()
        self._sealed: dict[str, set[str]] = {which: set() for which in REPOSITORIES}

    def run(self, fates: Iterator[Fate], *, seconds: float, at_once: int) -> Result:
        """Start processes for so long, wait for the last one, and look at everything that is there then."""
        began = time.monotonic()
        due = began
        while time.monotonic() - began < seconds:
            if time.monotonic() >= due and len(self._running) < at_once:
                fate = next(fates)
                due = time.monotonic() + fate.starts_after
                self._start(fate)
            self._turn()
        waited = time.monotonic()
        while self._running:
            self._turn()
            if time.monotonic() - waited > _PATIENCE:
                self._give_up()
        self._look()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _start(self, fate: Fate) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        if not (pid := os.fork()):
            os.close(reading)
            _live(self._site, fate, writing)
        os.close(writing)
        self.result.processes[fate.order.action] += 1
        self._running[pid] = _Running(fate, reading)
        at = time.monotonic()
        if fate.killed_after is not None:
            self._plan(at + fate.killed_after, pid, "kill")
        for stop in fate.stops:
            at += stop.after
            self._plan(at, pid, "stop")
            at += stop.duration
            self._plan(at, pid, "go on")

    def _plan(self, at: float, pid: int, what: str) -> None:
        heapq.heappush(self._events, (at, next(self._order), pid, what, 0.0))

    def _turn(self) -> None:
        """Do what is due to the processes, take leave of those that have ended, and wait a little."""
        while self._events and self._events[0][0] <= time.monotonic():
            _, _, pid, what, _ = heapq.heappop(self._events)
            if pid in self._running:
                self._do(pid, what)
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._take_leave(pid, status)
        time.sleep(_POLL)

    def _do(self, pid: int, what: str) -> None:
        if what == "kill":
            os.kill(pid, signal.SIGKILL)
            self.result.kills += 1
        elif what == "stop":
            os.kill(pid, signal.SIGSTOP)
            self.result.stops += 1
        else:
            os.kill(pid, signal.SIGCONT)

    def _take_leave(self, pid: int, status: int) -> None:
        running = self._running.pop(pid)
        with open(running.said, "rb") as file:  # noqa: PTH123 - a descriptor
            said = file.read()
        if os.WIFSIGNALED(status):
            if os.WTERMSIG(status) != signal.SIGKILL:
                self.result.faults.append(f"{running.fate.order} died of signal {os.WTERMSIG(status)}")
            return
        self._take(running.fate, json.loads(said))

    def _take(self, fate: Fate, said: dict[str, Any]) -> None:
        action = fate.order.action
        if error := said.get("error"):
            self.result.errors[f"{action}: {error}"] += 1
            if error not in EXPECTED.get(action, ()):
                self.result.faults.append(f"process {fate.order.number}, {action}: {error}: {said['text']}")
            return
        self.result.finished[action] += 1
        self.result.lost_races += said["lost_races"]
        self.result.faults += [f"process {fate.order.number}: {finding}" for finding in said["findings"]]
        for which, refs in said["sealed"].items():
            self.result.sealed += len(set(refs) - self._sealed[which])
            self._sealed[which] |= set(refs)

    def _give_up(self) -> None:
        for pid, running in self._running.items():
            self.result.faults.append(f"process {running.fate.order.number}, {running.fate.order.action}, hangs")
            os.kill(pid, signal.SIGKILL)
        for pid in list(self._running):
            os.waitpid(pid, 0)
            del self._running[pid]

    def _look(self) -> None:
        """Compare every point, remove everything that can go, and compare them once more."""
        for which in REPOSITORIES:
            self._require_present(which)
            self._compare(which)
            for _ in range(3):
                self._prune(which)
            self._compare(which, counted=False)

    def _require_present(self, which: str) -> None:
        """See that no point is gone that nobody meant to forget."""
        path = self._site.folder / f"forgotten-{which}"
        lines = path.read_text().splitlines() if path.exists() else []
        forgotten = {ref for line in lines for ref in json.loads(line)}
        there = set(opened(open_store(getattr(self._site, which))).point_refs())
        self.result.faults += [
            f"{which}: {ref} was sealed and is gone" for ref in self._sealed[which] - forgotten - there
        ]

    def _compare(self, which: str, *, counted: bool = True) -> None:
        with opened(open_store(getattr(self._site, which))) as repository:
            for ref in list(repository.point_refs()):
                try:
                    wrong = self._differences(repository, ref)
                except VmKeepError as error:
                    wrong = [f"{which}: {ref}: {type(error).__name__}: {error}"]
                self.result.faults += wrong
                self.result.compared += counted
            self.result.faults += [f"{which}: check: {finding}" for finding in repository.check(read_data=True)]

    def _differences(self, repository, ref: str) -> list[str]:
        point = repository.load_point(ref)
        wrong = []
        for name in point.attachments:
            repository.load_attachment(point, name)
        for number, image in enumerate(sorted(point.images, key=lambda image: image.disk.key)):
            out = self._site.folder / "out.raw"
            export_image(repository, point, number, out, overwrite=True)
            if out.read_bytes() != Image.named(image.disk.file_name).content():
                wrong.append(f"{repository.location}: {ref}, {image.disk.label}: holds wrong bytes")
            out.unlink()
            self.result.disks += 1
        return wrong

    def _prune(self, which: str) -> None:
        margins = Margins(young_for=timedelta(), condemned_for=timedelta(), left_for=timedelta())
        with opened(open_store(getattr(self._site, which))) as repository:
            try:
                execute(repository, plan_prune(repository, None, margins=margins, now=now()))
            except VmKeepError as error:
                self.result.faults.append(f"{which}: the last prune: {type(error).__name__}: {error}")


def _live(site: Site, fate: Fate, out: int) -> None:
    """Be the process: never returns."""
    try:
        try:
            said = dataclasses.asdict(carry_out(site, fate.order))
        except VmKeepError as error:
            said = {"error": type(error).__name__, "text": f"{error}"}
        except BaseException as error:  # noqa: BLE001 - told, and counted as a fault
            said = {"error": type(error).__name__, "text": traceback.format_exc()}
        with open(out, "w") as file:
            file.write(json.dumps(said))
    finally:
        os._exit(0)
