"""Checks that the plan of an image keeps its promises."""

from collections.abc import Iterable
from itertools import pairwise

from vmkeep.formats import Layout, Run
from vmkeep.model.extents import Extent


def check_plan(layout: Layout, stored: Iterable[Extent]) -> None:
    """Check that the runs are in order, do not overlap, lie in their files, and hold every stored byte once."""
    runs = list(layout.runs())
    assert runs == sorted(runs, key=lambda run: (run.file, run.offset))
    for run, following in pairwise(runs):
        assert run.file != following.file or run.offset + run.length <= following.offset
    for run in runs:
        assert run.length > 0
        assert run.offset + run.length <= layout.files[run.file].size
        assert run.data is None or len(run.data) == run.length
    held = [run for run in runs if run.data is None]
    for extent in stored:
        at = extent.start
        for place in layout.place(extent.start, extent.length):
            assert place.data is None
            assert place.start == at
            assert any(_holds(run, place) for run in held)
            at += place.length
        assert at == extent.stop


def _holds(run: Run, place: Run) -> bool:
    return (
        run.file == place.file
        and run.start <= place.start
        and place.start + place.length <= run.start + run.length
        and place.offset - run.offset == place.start - run.start
    )
