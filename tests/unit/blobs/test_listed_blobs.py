"""A list of many blobs takes little memory, and tells each blob as the server did."""

from __future__ import annotations

import random
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.blobs import BlobInfo
from vmkeep.blobs.s3.listedblobs import ListedBlobs

BEGIN = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)


def blobs(number):
    return [
        BlobInfo(key=f"packs/{at:032x}", size=at * 3 << 20, modified=BEGIN + timedelta(seconds=at))
        for at in range(number)
    ]


def listed(given):
    made = ListedBlobs()
    for blob in given:
        made.add(blob.key, blob.size, blob.modified)
    return made


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 2500])
def test_blobs_are_told_as_they_were_added_and_again_and_again(number):
    given = blobs(number)
    made = listed(given)

    assert list(made) == given
    assert list(made) == given
    assert len(made) == number
    assert all(blob.key in made for blob in given[::400])
    assert "packs/" not in made


def test_blobs_come_in_the_order_of_their_keys_though_a_server_lists_them_in_another():
    given = blobs(2500)
    mixed = random.Random(1).sample(given, len(given))

    assert list(listed(mixed)) == given


def test_a_million_blobs_would_take_less_than_a_hundred_megabytes():
    given = blobs(20_000)
    tracemalloc.start()
    try:
        made = listed(given)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(made) == 20_000
    assert taken < 20_000 * 100
