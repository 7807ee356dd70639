"""Calls to a store run beside one another where there are several, and cost no thread where there is one."""

from __future__ import annotations

import threading

import pytest

from vmkeep.blobs import abreast
from vmkeep.testing import MemoryStore


def thread_of(_item):
    return threading.current_thread()


def test_one_call_runs_on_the_thread_that_asks():
    assert list(abreast(MemoryStore(), thread_of, [1])) == [threading.current_thread()]
    assert list(abreast(MemoryStore(), thread_of, [])) == []


def test_several_calls_run_at_the_same_time_and_come_in_order():
    met = threading.Barrier(3)

    def call(item):
        met.wait()
        return item

    assert list(abreast(MemoryStore(), call, iter(range(3)))) == [0, 1, 2]


@pytest.mark.parametrize("items", [1, 5])
def test_the_error_of_a_call_is_raised_in_its_turn(items):
    def call(item):
        if item == items - 1:
            raise ValueError(item)
        return item

    results = abreast(MemoryStore(), call, range(items))

    assert [next(results) for _ in range(items - 1)] == list(range(items - 1))
    with pytest.raises(ValueError, match=str(items - 1)):
        next(results)
