"""A folder that hangs is named while a call waits for it, because no program can end its own wait there."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.patience import HANG, eventually
from vmkeep.blobs.wrappers import WatchedStore
from vmkeep.blobs.wrappers.watched import Watch
from vmkeep.testing import MemoryStore


class Hanging(MemoryStore):
    """A store whose blobs nobody can read until it answers again."""

    def __init__(self):
        super().__init__()
        self.answers = threading.Event()

    def get(self, key):
        assert self.answers.wait(HANG)
        return super().get(key)


@pytest.fixture
def hanging():
    inner = Hanging()
    inner.put("packs/one", b"1")
    yield inner
    inner.answers.set()


def test_a_call_that_hangs_is_named_once_with_its_store_and_its_end_is_told_and_no_thread_stays(hanging, caplog):
    store = WatchedStore(hanging, watch := Watch(hangs=0.01, look=0.01))
    reader = threading.Thread(target=store.get, args=["packs/one"])

    with caplog.at_level(logging.WARNING):
        reader.start()
        eventually(lambda: f"{store.location}: reading packs/one: no answer for " in caplog.text)
        hanging.answers.set()
        reader.join(HANG)
        eventually(lambda: watch._thread is None)

    assert [record.getMessage().count("it has ended") for record in caplog.records] == [0, 1]
    assert "the file system hangs" in caplog.text


def test_a_caller_who_takes_his_time_over_a_list_is_no_store_that_hangs(hanging, caplog):
    store = WatchedStore(hanging, watch := Watch(hangs=HANG, look=0.01))
    reader = threading.Thread(target=store.get, args=["packs/one"])

    with caplog.at_level(logging.WARNING):
        names = store.list("packs/")
        next(names)
        watch._hangs = 0.01
        reader.start()
        eventually(lambda: "no answer" in caplog.text)  # by then the list has waited for its caller even longer
        hanging.answers.set()
        reader.join(HANG)
    names.close()

    assert "listing" not in caplog.text
