"""A limit holds over every kind of store, because each creates a blob only once and tells its age."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.test_blob_store import BACKENDS, SERVERS
from vmkeep.errors import LimitReachedError
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository.frames import Framer
from vmkeep.repository.notes import Permits


@pytest.mark.parametrize("kind", ["memory", "local", "s3 opened", "sftp opened"])
def test_of_many_that_ask_at_once_as_many_get_a_permit_as_there_are(kind, request, tmp_path):
    store = SERVERS[kind](request) if kind in SERVERS else BACKENDS[kind](tmp_path)
    permits = Permits(store, Framer(codec="zstd"), Limit(key="k", name="n", most=2))
    together = threading.Barrier(5)

    def ask(name):
        together.wait()
        try:
            permits.take(Holder(owner=name, run=name, what=name))
        except LimitReachedError:
            return None
        return name

    names = [f"run-{number}" for number in range(5)]
    with ThreadPoolExecutor(5) as threads:
        held = [name for name in threads.map(ask, names) if name]
    assert sorted(permits.usage().holders) == held
    assert 1 <= len(held) <= 2

    for name in held:
        permits.give_back(name)
    assert permits.usage().holders == ()
