"""A block that is stored twice is found as long as one of its packs is there, whichever the index names first."""

from __future__ import annotations

import os

import pytest

from vmkeep.errors import CorruptError
from vmkeep.repository import Repository

BLOCK = 65536


@pytest.fixture
def twice(repository):
    """Return a root whose blocks and pages two writers have stored that did not know of each other."""
    content = os.urandom(2 * BLOCK)
    other = Repository(repository.blobs, repository.descriptor)
    with repository.open_writer(run="a") as one, other.open_writer(run="b") as two:
        roots = {repository.write_attachment(one, content), other.write_attachment(two, content)}
        one.flush()
        two.flush()
    (root,) = roots
    return root


def packs(repository):
    return sorted(blob.key for blob in repository.blobs.list("packs/"))


def test_a_page_is_read_from_the_pack_that_is_left(repository, twice):
    assert len(packs(repository)) == 4
    for lost in packs(repository):
        blob = repository.blobs.get(lost)
        reader = Repository(repository.blobs, repository.descriptor)
        reader.index  # noqa: B018 - loaded while the pack was there
        repository.blobs.delete(lost)
        assert list(reader.open_map(twice).blocks())
        repository.blobs.put(lost, blob)


def test_a_page_all_of_whose_packs_are_gone_is_lost(repository, twice):
    reader = Repository(repository.blobs, repository.descriptor)
    reader.index  # noqa: B018 - loaded while the packs were there
    for lost in packs(repository):
        repository.blobs.delete(lost)

    with pytest.raises(CorruptError, match="is lost"):
        reader.open_map(twice)
