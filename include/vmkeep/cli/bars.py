"""Progress bars on standard error, drawn on a terminal alone. The library that draws is loaded only for that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from vmkeep.cli.output import one_line
from vmkeep.model.wording import size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vmkeep.model import job

OnProgress: TypeAlias = "Callable[[job.Progress], None]"


def rate(count: int, seconds: float) -> str:
    """Return bytes per second, e.g. ``310.2 MiB/s``."""
    return f"{size(count / seconds)}/s" if seconds > 0 else "-"


class Bars:
    """Makes a bar for each disk; any thread may make one.

    :param drawn: the bars on the terminal; ``None``: nothing is drawn.
    """

    def __init__(self, drawn: Progress | None = None, prefix: str = "") -> None:
        self._drawn = drawn
        self._prefix = prefix
        self._made: list[TaskID] = []

    def __call__(self, name: str) -> OnProgress:
        """Make the bar of a disk. Return the function that moves it."""
        drawn = self._drawn
        if drawn is None:
            return lambda _event: None
        title = f"{self._prefix}{name}"
        bar = drawn.add_task(title, total=None)
        self._made.append(bar)

        def show(event: job.Progress) -> None:
            drawn.update(bar, description=f"{title} {event.phase}", completed=event.bytes_done, total=event.bytes_total)

        return show

    @contextmanager
    def of(self, owner: str) -> Iterator[Bars]:
        """Yield what makes the bars of one of several works. They vanish when it is over."""
        own = Bars(self._drawn, f"{self._prefix}{one_line(owner)}: ")
        try:
            yield own
        finally:
            for bar in own._made:
                if self._drawn is not None:
                    self._drawn.remove_task(bar)


@contextmanager
def progress_bars(*, hidden: bool) -> Iterator[Bars]:
    """Yield what makes one bar per disk; bars go to stderr, and only to a terminal."""
    if hidden or not sys.stderr.isatty():
        yield Bars()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        """The rate in binary units, because the sizes beside it are in these, and rich's own column is not."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(rate(round(speed), 1) if speed else "", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True), Speed(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as drawn:
        yield Bars(drawn)


@contextmanager
def progress_counts(noun: str, *, hidden: bool) -> Iterator[OnProgress]:
    """Yield what moves a bar of things that are counted, with their rate and the time that is left.

    It goes to stderr, and only to a terminal. The bytes of its events are numbers of things.

    :param noun: one of the things, e.g. ``VM``.
    """
    if hidden or not sys.stderr.isatty():
        yield lambda _event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn(f"{noun}s, {{task.fields[rate]}}", markup=False), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as drawn:
        bar = drawn.add_task("", total=None, rate="")

        def show(event: job.Progress) -> None:
            speed = drawn.tasks[0].speed
            drawn.update(
                bar, description=event.phase, completed=event.bytes_done, total=event.bytes_total,
                rate=f"{speed:.1f}/s" if speed else "",
            )  # fmt: skip

        yield show
