"""Several processes that do the same at the same moments in one folder, one round after another."""

from __future__ import annotations

import errno
import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import TypeAlias

from tests.patience import HANG
from vmkeep.blobs import BlobStore, naming
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import ConflictError
from vmkeep.repository.folders import SWEEPS
from vmkeep.repository.frames.codecs import Codec
from vmkeep.repository.frames.digests import Kind
from vmkeep.repository.frames.frames import Framer
from vmkeep.repository.notes.sweeprecords import SweepRecords

Action: TypeAlias = Callable[[BlobStore, int, int], int]
"""Takes a store, the round and the racer's number."""


def create(store: BlobStore, number: int, racer: int) -> int:
    """Create a blob; return whether it was this racer who did."""
    try:
        return int(store.put(f"points/vm/{number}", b"%d" % racer))
    except ConflictError:
        return 0


def decide(store: BlobStore, number: int, racer: int) -> int:
    """Decide a sweep as the prune does (racer 0), or as whoever vetoes it; return how many packs were decided to go."""
    framer = Framer(codec=Codec.NONE)
    key = f"{SWEEPS}{number:032x}/candidates"  # the record that a sweep begins with
    store.put(key, framer.wrap(Kind.NOTE, b'{"packs":"%s"}' % bytes(16).hex().encode(), name=key))
    return len(SweepRecords(store, framer).decide(f"{number:032x}", {bytes(16)} if racer == 0 else ()))


def end(store: BlobStore, number: int, racer: int) -> int:
    """Decide a sweep whose record was forgotten; return how many packs were decided to go."""
    records = SweepRecords(store, Framer(codec=Codec.NONE))
    return len(records.decide(f"{number:032x}", {bytes(16)} if racer == 0 else ()))


def race(
    folder: Path, action: Action, *, rounds: int, racers: int = 3, links: bool = True, flags: bool = True
) -> list[tuple[int, ...]]:
    """Race; return of each round what came of it for each racer.

    :param links: whether the file system is to have hard links; ``flags``: renames that do not replace.
    """
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(racers)
    results: Queue[tuple[int, list[int]] | str] = context.Queue()
    processes = [
        context.Process(target=_run, args=(folder, action, number, rounds, start, results, links, flags), daemon=True)
        for number in range(racers)
    ]
    for process in processes:
        process.start()
    found: dict[int, list[int]] = {}
    try:
        while len(found) < racers:
            result = results.get(timeout=HANG)
            assert not isinstance(result, str), result
            found |= dict([result])
    finally:
        for process in processes:
            process.kill()
            process.join()
    return list(zip(*(found[number] for number in range(racers)), strict=True))


def _run(
    folder: Path,
    action: Action,
    racer: int,
    rounds: int,
    start: Barrier,
    results: Queue[tuple[int, list[int]] | str],
    links: bool,
    flags: bool,
) -> None:
    if not links:
        os.link = _refusing(errno.EPERM)
    if not flags:
        naming.rename_if_free = _refusing(errno.EINVAL)
    store, came = LocalStore(folder), []
    try:
        for number in range(rounds):
            start.wait(HANG)
            came.append(action(store, number, racer))
    except BrokenBarrierError:
        return  # another racer says why
    except BaseException:
        results.put(traceback.format_exc())
        start.abort()  # else the others would wait for this one
        raise
    results.put((racer, came))


def _refusing(code: int) -> Callable[..., None]:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse
