"""Tests of faults at each call of a step: the calls of a step have one order, which is the same in every run."""

import pytest

from vmkeep.blobs import parallel


class Asked:
    """A call that is made when its result is asked for."""

    def __init__(self, call, *items):
        self._call = call
        self._items = items

    def result(self):
        return self._call(*self._items)

    def cancel(self):
        """Need nothing, because it has not begun."""


class OneThread:
    """Makes each call on the thread that asks for its result."""

    def __init__(self, _width):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def submit(self, call, *items):
        return Asked(call, *items)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Make calls that go side by side one after the other, so that each position is the same place of a step.

    Threads cost time, too, and several thousand were started here. ``unit/maintenance`` and the soaks use them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "ThreadPoolExecutor", OneThread)
        yield
