"""Shows a restore on the command line: its plan, its progress and its outcome."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.output import print_json, sentence, warn
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.complete_runs import Bars
    from vmkeep.flows.restore_values import Restored

T = TypeVar("T")


def new_run() -> str:
    """Return the key of a new run."""
    return f"cli-{uuid.uuid4().hex[:12]}"


def show_plan(lines: Iterable[str], warnings: Sequence[str], document: object, *, as_json: bool) -> None:
    """Print a plan that is not carried out.

    :param document: the plan as plain data.
    """
    if as_json:
        print_json(document)
        return
    for line in lines:
        click.echo(sentence(line))
    for warning in warnings:
        warn(warning)
    click.echo("nothing was changed")


def carry_out(
    work: Callable[[Bars, Callable[[str], None]], T], words: Callable[[T, float], Iterable[str]], *, as_json: bool
) -> None:
    """Carry a restore out with a progress bar for each disk, and print its outcome.

    :param work: gets the bars, and a function that shows a line of the plan before anything is changed.
    :param words: words the outcome. The second argument is the number of seconds.
    """

    def show(line: str) -> None:
        if not as_json:
            click.echo(sentence(line), err=True)

    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        done = work(bars, show)
    seconds = time.monotonic() - started
    if as_json:
        print_json({**to_plain(done), "duration_seconds": round(seconds, 3)})
        return
    for line in words(done, seconds):
        click.echo(sentence(line))


def restored_words(done: Restored, seconds: float) -> Iterator[str]:
    """Word the outcome of a restore of a VM."""
    vm = str(done.vm)
    if done.kept:
        yield f"nothing was restored: VM {vm} exists and was kept"
        return
    written = f"{counted(done.disks_written, 'disk')}, {size(done.bytes_written)} written"
    yield (
        f"VM {vm} {'created' if done.created else 'restored'} from {done.point}: "
        f"{written}, {rate(done.bytes_written, seconds)}{', powered on' if done.powered_on else ''}"
    )
    for one in done.disks:
        if one.why_blocks:
            yield f"{one.label} ({one.address}): {one.blocks} blocks, because {one.why_blocks}"
    if done.undo is not None:
        yield f"snapshot {done.undo} is kept: 'vmkeep restore undo' goes back to it, 'restore accept' removes it"
