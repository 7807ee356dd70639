"""A size that vmkeep prints can be typed wherever vmkeep takes a size, and means the same in each place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmkeep.cli.filewords import parse_file_size
from vmkeep.errors import UsageError
from vmkeep.model.diskrule import parse_disk_rule
from vmkeep.model.limits import parse_limits
from vmkeep.model.sizes import UNITS, parse_size
from vmkeep.model.wording import size
from vmkeep.policy import read_file


@given(st.integers(0, 1 << 63))
@example((1 << 40) - (1 << 20))
@example((1 << 20) - 1)
def test_a_size_that_is_printed_is_read_as_what_was_printed(count):
    read = parse_size(size(count))
    assert read is not None
    assert size(read) == size(count)
    assert abs(read - count) <= count / 20


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != "PiB"])
def test_no_size_is_printed_as_1024_of_a_unit(unit):
    for count in range(
        max(1, 1024 * UNITS[unit] - UNITS[unit] // 10), 1024 * UNITS[unit] + 1, max(1, UNITS[unit] // 99)
    ):
        assert not size(count).startswith("1024")


@pytest.mark.parametrize("unit", UNITS)
def test_each_reader_takes_each_unit(unit):
    bytes_of_it = 3 * UNITS[unit]
    for text in (f"3{unit}", f"3 {unit}"):
        assert parse_file_size(text) == bytes_of_it
        assert parse_disk_rule(f">{text}").larger_than == bytes_of_it
        assert parse_limits(f"free={text}").floor_of(1 << 60) == bytes_of_it


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != "B"])
def test_a_policy_takes_each_unit_but_bare_bytes(unit, tmp_path):
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "name: nightly\nselection: name:*\nwindow: {start: 22:00, end: 06:00, time_zone: UTC}\n"
        f"disks: {{exclude: [{{larger_than: 1.5 {unit}}}]}}\n"
    )
    policy = read_file(path).policy
    assert policy is not None
    assert policy.disks.exclude[0].larger_than == UNITS[unit] * 3 // 2


@pytest.mark.parametrize("text", ["", "MiB", "1.5", "1.5B", "5kB", "5 mib", "-1", "1,5GiB", "1 MiB 2", "٣MiB", "1e3"])
def test_a_text_that_is_no_size_is_one_for_no_reader(text):
    assert parse_size(text) is None
    with pytest.raises(UsageError):
        parse_file_size(text)
    with pytest.raises(UsageError):
        parse_disk_rule(f">{text}")
    with pytest.raises(UsageError):
        parse_limits(f"free={text}")
