"""Writes the page of the matrix: dimension, value and result, and the list of exceptions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.fidelity.dimensions import VALUES
from tests.fidelity.exceptions import EXCEPTIONS
from tests.fidelity.runner import Outcome

_HEAD = """# Fidelity: the VM that comes back is the VM that was

`make fidelity` writes this page.
It makes VMs of every kind in a simulated vCenter, backs each of them up, destroys it, restores it as a new VM,
and compares the two: every property of `VirtualMachineConfigInfo` with all devices, the power state, and every byte of
every disk that the restore point holds.
The lab refuses what vSphere refuses; its assumptions stand in [lab-assumptions-vsphere.md](lab-assumptions-vsphere.md).
"""
_EXCEPTIONS = """## What differs, and why

A difference that is not in this list fails the run.
For a row with "yes" in its last column the run also checks that the plan of the restore says so, before anything is
made.

| difference | reason | VMs | in the plan |
|---|---|---|---|
"""


def render(outcomes: Sequence[Outcome], *, paired: int, whole: int) -> str:
    """Return the page.

    :param paired: the number of rows that hold every pair of values.
    :param whole: the number of rows that were backed up and restored.
    """
    good = [outcome for outcome in outcomes if not outcome.unexpected]
    share = 100 * len(good) // max(1, len(outcomes))
    properties = sum(outcome.properties for outcome in outcomes)
    disks = sum(outcome.disks for outcome in outcomes)
    compared = sum(outcome.bytes_compared for outcome in outcomes) >> 20
    some = f"The first {whole} were backed up and restored; the others were made again from their configuration."
    figures = [
        f"{len(outcomes)} VMs: {min(paired, len(outcomes))} hold every pair of values that vSphere lets go together,",
        "and the others are drawn by chance, the same ones each time.",
        *([some] if whole < len(outcomes) else []),
        "",
        f"{len(good)} of {len(outcomes)} came back without a loss ({share} %):",
        f"{properties:,} properties and {disks:,} disks with {compared:,} MiB were compared.",
    ]
    met = Counter(name for outcome in outcomes for name in outcome.used)
    exceptions = "\n".join(
        f"| {each.name} | {each.reason} | {met[each.name]} | {'yes' if each.told else 'no'} |" for each in EXCEPTIONS
    )
    lines = [_HEAD, "\n".join(figures), "", "| dimension | value | VMs | without a loss |", "|---|---|---|---|"]
    return "\n".join([*lines, *_table(outcomes), "", _EXCEPTIONS + exceptions, ""])


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for dimension, values in VALUES.items():
        for value in values:
            of_it = [outcome for outcome in outcomes if outcome.row[dimension] == value]
            good = sum(not outcome.unexpected for outcome in of_it)
            yield f"| {dimension} | {value} | {len(of_it)} | {good} |"
