"""Reads the volumes, folders and searches of the file browser, each within its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

from vmkeep.clock import now
from vmkeep.flows.fleet import ListedPoint
from vmkeep.flows.point_file_list import ListedFile, Wanted, find_files, list_files
from vmkeep.flows.point_files import PointFiles, open_point_files
from vmkeep.flows.repositories import Repository
from vmkeep.model.job import Progress
from vmkeep.web import FILES_A_PAGE, MOST_FOUND, FilesChoice, FilesPage, files_page, head_of, pattern_of
from vmkeep_airflow.web.repositories import in_repository

SECONDS: Final = 20.0
"""Seconds of one search. It ends before the look at the repository is given up."""


class _LateError(Exception):
    """The time of a search is over."""


def load_files(point: ListedPoint, choice: FilesChoice) -> FilesPage:
    """Return a page of a point's files.

    :raises NotFoundError: there is no such point, volume or folder.
    :raises UnsupportedError: files of the volume cannot be read; the message names the way out.
    :raises CorruptError: a block is damaged, or the file system contradicts itself.
    :raises UnreachableError: the repository gives no answer in time.
    """
    return in_repository(point.repository, lambda repository: _load(repository, point, choice))


def _load(repository: Repository, point: ListedPoint, choice: FilesChoice) -> FilesPage:
    warnings: list[str] = []
    with open_point_files(repository, point.ref, doing="listing files", tell=warnings.append) as opened:
        listed: tuple[ListedFile, ...] = ()
        total, ended_early = 0, ""
        if choice.volume and choice.search:
            listed, ended_early = _search(opened, choice)
            total = len(listed)
        elif choice.volume:
            listed, total = _page(list_files(opened, choice.at), choice.first)
        return files_page(
            head_of(point, now()), choice, volumes=opened.volumes, warnings=warnings, listed=listed, total=total,
            ended_early=ended_early, now=now(),
        )  # fmt: skip


def _page(listing: Iterator[ListedFile], first: int) -> tuple[tuple[ListedFile, ...], int]:
    """Return the entries of a page, and the number of all."""
    before = sum(1 for _ in islice(listing, first))
    page = tuple(islice(listing, FILES_A_PAGE))
    return page, before + len(page) + sum(1 for _ in listing)


def _search(opened: PointFiles, choice: FilesChoice) -> tuple[tuple[ListedFile, ...], str]:
    """Return the entries that were found, and the reason why there may be more."""
    end = time.monotonic() + SECONDS
    looked_at = 0

    def look(progress: Progress) -> None:
        nonlocal looked_at
        looked_at = progress.bytes_done
        if time.monotonic() > end:
            raise _LateError

    found: list[ListedFile] = []
    wanted = Wanted(name=pattern_of(choice.search), ignore_case=True)
    try:
        for each in find_files(opened, [choice.at], wanted, on_progress=look):
            if len(found) == MOST_FOUND:
                return tuple(
                    found
                ), f"The first {MOST_FOUND} are shown. Search in a folder below, or for a longer name."
            found.append(each)
    except _LateError:
        why = (
            f"The search was ended after {SECONDS:.0f} s, when it had looked at {looked_at:,} entries. Search in a "
            "folder below, or use 'vmkeep point files find'."
        )
        return tuple(found), why
    return tuple(found), ""
