"""A restore counts as one that wrote nothing only if its notes say so; without them it may have written."""

from __future__ import annotations

import pytest

from tests.sealed import opened
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

RUN = "cli-1"


@pytest.fixture
def store():
    made = MemoryStore()
    descriptor.create(made, descriptor.new_descriptor(block_size=65536, compression="zstd"))
    return made


def begun(ledger):
    ledger.note_begun()


def written(ledger):
    ledger.note_written()


def untouched(ledger):
    ledger.note_untouched()


def nothing(_ledger):
    pass


@pytest.mark.parametrize(
    ("noted", "may_have_written"), [(nothing, False), (untouched, False), (begun, True), (written, True)]
)
def test_a_run_may_have_written_from_its_first_write_on(store, noted, may_have_written):
    ledger = RunLedger(opened(store), RUN)
    ledger.begin("a person")
    noted(ledger)

    assert ledger.may_have_written() is may_have_written


def test_a_run_whose_notes_maintenance_has_removed_may_have_written(store):
    ledger = RunLedger(opened(store), RUN)
    ledger.record_outcome(Outcome.CLEANED_UP)  # as the sweep does that finds its VM later

    assert ledger.may_have_written()
    assert not ledger.wrote_nothing()


def test_a_run_with_a_damaged_note_may_have_written(store):
    ledger = RunLedger(opened(store), RUN)
    ledger.begin("a person")
    ledger.note_untouched()
    for blob in list(store.list("runs/")):
        if blob.key.endswith("/disks"):
            store.replace(blob.key, b"damaged")

    assert ledger.may_have_written()
    assert not ledger.wrote_nothing()
