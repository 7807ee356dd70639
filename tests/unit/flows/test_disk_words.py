"""Disks of an export are named by the words that a person sees, and by their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.catalog.test_catalog import point
from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.flows.disk_words import chosen_numbers


def of_two():
    made = point(1, "web01")
    (image,) = made.images
    first = replace(image.disk, key=2000, label="Hard disk 1", unit=0, file_name="[ds] a.vmdk")
    second = replace(first, key=2001, label="Hard disk 2", unit=1, file_name="[ds] b.vmdk")
    return replace(made, skipped=(), images=(replace(image, disk=second), replace(image, disk=first)))


def test_a_disk_is_chosen_by_number_address_label_or_key():
    both = of_two()
    second = next(image.disk for image in both.images if image.disk.key == 2001)
    for word in ("1", second.address, " Hard disk 2 ", "2001"):
        assert chosen_numbers(both, [word]) == (1,), word
    assert chosen_numbers(both, ["1", "0"]) == (1, 0)
    assert chosen_numbers(both, []) == ()


def test_a_word_that_names_no_disk_or_two_is_refused_with_those_that_there_are():
    both = of_two()
    for word in ("2", "scsi9:9", ""):
        with pytest.raises(NotFoundError, match="Hard disk 2"):
            chosen_numbers(both, [word])
    images = tuple(replace(image, disk=replace(image.disk, label="same")) for image in both.images)
    twins = replace(both, images=images)
    with pytest.raises(AmbiguousError, match="give the address of one"):
        chosen_numbers(twins, ["same"])
