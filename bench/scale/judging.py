"""Tells from the looks at a site whether its window kept the limits, and what each VM cost. Reads nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.scale.sampling import Sample, calls_between
from bench.scale.site import Size

OURS = ("tasks", "api-server", "scheduler", "dag-processor", "triggerer")
"""The kinds of processes whose CPU seconds count for a VM: all of Airflow's. The lab stands for a vCenter."""
_GROWTH = 1.1
_BYTES = 32 << 20
"""Growth of the scheduler's memory that counts as flat: a tenth, or this."""
_MOST_CPU = 2.5
_MOST_CALLS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a window, and what was seen on the way."""

    size: Size
    samples: Sequence[Sample]
    report: Mapping[str, Any]
    """The result of the window's task ``report``."""
    window: str
    """State of the window's run."""
    points: Mapping[str, int]
    """Restore points in the repository, by the VM's name."""

    @property
    def seconds(self) -> float:
        """Return how long the window took."""
        return self.samples[-1].seconds - self.samples[0].seconds

    @property
    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds by the kind of process."""
        first, last = self.samples[0].cpu, self.samples[-1].cpu
        return {kind: round(spent - first.get(kind, 0.0), 2) for kind, spent in last.items()}

    @property
    def cpu_of_a_vm(self) -> float:
        """Return Airflow's CPU seconds for each VM, with the copying of its data."""
        return sum(self.cpu[kind] for kind in OURS) / self.size.vms

    @property
    def copying_of_a_vm(self) -> float:
        """Return the CPU seconds for each VM of the processes that copy disks, as each copy has told them."""
        return (self.samples[-1].copying - self.samples[0].copying) / self.size.vms

    @property
    def cpu_outside_of_copying(self) -> float:
        """Return Airflow's CPU seconds for each VM without the copying of its data."""
        return self.cpu_of_a_vm - self.copying_of_a_vm

    @property
    def calls(self) -> dict[str, int]:
        """Return the vCenter's calls by method, most first."""
        return dict(calls_between(self.samples[0], self.samples[-1]).most_common())

    @property
    def calls_of_a_vm(self) -> float:
        """Return the calls for each VM, those of the window itself included."""
        return sum(self.calls.values()) / self.size.vms

    def most(self, kind: str) -> int:
        """Return the largest number seen of ``snapshots`` or of ``sessions``."""
        return max(int(getattr(sample, kind)) for sample in self.samples)

    @property
    def most_nfc(self) -> int:
        """Return the largest number of NFC sessions that a host had."""
        return max(self.samples[-1].nfc_most.values(), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A promise of the window, and what was seen of it."""

    what: str
    wanted: str
    seen: str
    kept: bool


def promises(outcome: Outcome) -> list[Promise]:
    """Return what was seen of each promise."""
    size = outcome.size
    verified = min(sum(count > 0 for count in outcome.points.values()), len(outcome.report.get("done", ())))
    early, late = _memory(outcome.samples)
    flat = late <= max(early * _GROWTH, early + _BYTES)
    cpu, calls = outcome.cpu_outside_of_copying, outcome.calls_of_a_vm
    return [
        Promise(what="VMs with a verified point", wanted=f"{size.vms}", seen=f"{verified}", kept=verified == size.vms),
        Promise(what="end of the window", wanted="success", seen=outcome.window, kept=outcome.window == "success"),
        _at_most("VMs with an open snapshot", size.backups_at_once, outcome.most("snapshots")),
        _at_most("NFC sessions of one host", size.nfc_sessions, outcome.most_nfc),
        _at_most("disks that a host refused to open", 0, outcome.samples[-1].nfc_refused),
        Promise(what="scheduler's memory", wanted="flat", seen=f"{early >> 20} MiB, later {late >> 20} MiB", kept=flat),
        Promise(
            what="CPU seconds of a VM outside of copying",
            wanted=f"<= {_MOST_CPU}",
            seen=f"{cpu:.2f}",
            kept=cpu <= _MOST_CPU,
        ),
        Promise(
            what="vCenter calls of a VM", wanted=f"<= {_MOST_CALLS}", seen=f"{calls:.1f}", kept=calls <= _MOST_CALLS
        ),
    ]


def _at_most(what: str, limit: int, seen: int) -> Promise:
    return Promise(what=what, wanted=f"<= {limit}", seen=f"{seen}", kept=seen <= limit)


def _memory(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return the scheduler's usual memory in the second fifth of the time, when all is loaded, and in the last."""
    used = [sample.scheduler_bytes for sample in samples]
    fifth = max(1, len(used) // 5)
    return int(statistics.median(used[fifth : 2 * fifth] or used)), int(statistics.median(used[-fifth:]))
