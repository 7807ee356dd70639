"""The memory of manifests answers only for the blob that was read, and does not grow without end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.blobs import BlobInfo
from vmkeep.repository.points.manifestmemory import ManifestFacts, ManifestMemory

WHEN = datetime(2026, 5, 4, tzinfo=UTC)
FACTS = ManifestFacts(
    roots=("ab" * 32,), taken_at=WHEN, vm_name="web", vcenter="vc", moref="vm-1", policy="daily"
)  # fmt: skip
ONE, OTHER = (BlobInfo(key=f"points/vm/{name}", size=100, modified=WHEN) for name in ("one", "other"))


@pytest.fixture
def memory():
    """A memory of two manifests."""
    memory = ManifestMemory()
    for blob in (ONE, OTHER):
        memory.keep(blob, FACTS)
    return memory


def test_a_listing_of_all_points_drops_what_is_known_of_manifests_that_it_does_not_show(memory):
    memory.look([ONE], whole=True)

    assert memory.find(ONE) == FACTS
    assert memory.find(OTHER) is None


def test_a_listing_of_some_points_drops_nothing(memory):
    memory.look([ONE], whole=False)

    assert memory.find(ONE) == memory.find(OTHER) == FACTS


@pytest.mark.parametrize(
    "changed", [{"key": "points/vm/third"}, {"size": 101}, {"modified": WHEN + timedelta(seconds=1)}], ids=str
)
def test_a_manifest_of_another_name_size_or_time_is_not_known(memory, changed):
    assert memory.find(replace(ONE, **changed)) is None
