"""Reads the CPU seconds and memory of processes and of all that they have started."""

from __future__ import annotations

import psutil


def own(process: psutil.Process) -> float:
    """Return the CPU seconds of one process alone."""
    times = process.cpu_times()
    return float(times.user + times.system)


def ended_children(process: psutil.Process) -> float:
    """Return the CPU seconds of the children that it has waited for."""
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def of_children(process: psutil.Process) -> float:
    """Return the CPU seconds of all processes that a process has started, ended ones included."""
    return sum(_of(child) for child in process.children(recursive=True)) + ended_children(process)


def resident(process: psutil.Process) -> int:
    """Return the bytes of a process's own memory that are in use."""
    return int(process.memory_info().rss)


def _of(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and its ended children; one that ends meanwhile counts with its parent."""
    try:
        return own(process) + ended_children(process)
    except psutil.NoSuchProcess:
        return 0.0


def of_this() -> float:
    """Return the CPU seconds of this process, and of those that it has started and waited for."""
    this = psutil.Process()
    return own(this) + ended_children(this)
