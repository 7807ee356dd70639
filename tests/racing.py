"""Several processes that create the same blobs at the same moments, one blob after another."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.patience import HANG
from vmkeep.blobs import naming
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import ConflictError


def wins(folder: Path, *, rounds: int, racers: int = 3, links: bool = True, flags: bool = True) -> Counter[int]:
    """Race; return how many rounds had how many winners.

    :param links: whether the file system is to have hard links; ``flags``: renames that do not replace.
    """
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(racers)
    won: Queue[list[int]] = context.Queue()
    processes = [
        context.Process(target=_race, args=(folder, number, rounds, start, won, links, flags), daemon=True)
        for number in range(racers)
    ]
    for process in processes:
        process.start()
    try:
        rounds_won = Counter(number for _ in processes for number in won.get(timeout=HANG))
    finally:
        for process in processes:
            process.kill()
            process.join()
    return Counter(rounds_won[number] for number in range(rounds))


def _race(
    folder: Path, name: int, rounds: int, start: Barrier, won: Queue[list[int]], links: bool, flags: bool
) -> None:
    if not links:
        os.link = _refusing(errno.EPERM)
    if not flags:
        naming.rename_if_free = _refusing(errno.EINVAL)
    store = LocalStore(folder)
    mine = []
    for number in range(rounds):
        start.wait(HANG)
        try:
            if store.put(f"sweeps/{number}/takes", b"%d" % name):
                mine.append(number)
        except ConflictError:
            pass
    won.put(mine)


def _refusing(code: int) -> Callable[..., None]:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse
