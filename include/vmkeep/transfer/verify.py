"""Reads a stored disk again, all of it or a sample, and checks every digest on the way."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import UsageError
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.reading import DiskReading


def verify_disk(
    repository: Repository,
    root: str,
    *,
    sample: float = 1.0,
    on_progress: OnProgress,
    check: Callable[[], None] = lambda: None,
    what: str = "disk",
) -> tuple[int, int]:
    """Check a disk's whole map and the content of its blocks. Return the number of blocks and bytes read.

    :param sample: the share of blocks to read, 0 to 1. Their digests decide which ones, so that the sample of one point
        is always the same.
    :raises CorruptError: a page or a block is damaged or lost.
    """
    if not 0 <= sample <= 1:
        raise UsageError(f"a sample is a share from 0 to 1, not {sample}")
    bound = int(sample * (1 << 64))
    reading = DiskReading(
        repository.open_map(root, what=what),
        repository.open_blocks(),
        what=what,
        phase="verify",
        on_progress=on_progress,
        check=check,
        select=None if sample == 1 else lambda digest: int.from_bytes(digest[8:16], "big") < bound,
    )
    reading.run(lambda _block, _content: None)
    return reading.count, reading.size
