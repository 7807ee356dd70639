"""Values in shared memory are found by their origin only, and a damaged or lapsed one is none."""

from __future__ import annotations

import os

import pytest

from vmkeep import forkmemory
from vmkeep.forkmemory import ForkMemory

ORIGIN, VALUE = b"origin", b"value" * 500


@pytest.fixture
def memory():
    return ForkMemory()


def test_its_origin_finds_a_value_and_another_one_does_not(memory):
    memory.store(ORIGIN, VALUE, seconds=60)

    assert memory.load(ORIGIN) == VALUE
    assert memory.load(b"another") is None


def test_neither_value_nor_origin_lies_there_in_clear(memory):
    memory.store(ORIGIN, VALUE, seconds=60)

    assert memory._map.find(b"value") == memory._map.find(ORIGIN) == -1


def test_a_process_that_was_forked_hands_a_value_to_its_parent(memory):
    if (child := os.fork()) == 0:
        memory.store(ORIGIN, VALUE, seconds=60)
        os._exit(0)
    os.waitpid(child, 0)

    assert memory.load(ORIGIN) == VALUE


def test_a_value_lapses(memory, monkeypatch):
    memory.store(ORIGIN, VALUE, seconds=60)
    later = forkmemory.time.monotonic() + 61
    monkeypatch.setattr(forkmemory.time, "monotonic", lambda: later)

    assert memory.load(ORIGIN) is None


@pytest.mark.parametrize("at", [5, 40, 50, 60, 200])
def test_a_damaged_value_is_none(memory, at):
    memory.store(ORIGIN, VALUE, seconds=60)
    memory._map[memory._place(memory._secrets(ORIGIN)[0]) + at] ^= 1

    assert memory.load(ORIGIN) in (None, VALUE)
    assert at == 40 or memory.load(ORIGIN) is None  # the time of expiry is no secret, and harms nobody


def test_a_value_that_is_too_large_is_not_kept(memory):
    memory.store(ORIGIN, b"x" * 99999, seconds=60)

    assert memory.load(ORIGIN) is None
