"""The name of a point tells its time without a reading, and a name that tells none is no point's."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from vmkeep.repository.points import parse_key


def test_a_name_tells_the_time_of_its_point_in_utc():
    assert parse_key("points/vm/20261128T113309Z-ab").taken_at == datetime(2026, 11, 28, 11, 33, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "20261328T113309Z-ab", "20260230T113309Z-ab", "00000101T000000Z-ab", "20261128T240000Z-ab",
        "20261128T113360Z-ab", "20261128T113309-ab", "20261128T113309+01-ab", "2026-11-28T11:33:09Z-ab",
        "20261128Z-ab", "20261128T113309Z", "２0261128T113309Z-ab",
    ],
)  # fmt: skip
def test_a_name_without_a_time_of_a_calendar_is_no_points(name):
    assert parse_key(f"points/vm/{name}").taken_at is None


def test_to_read_the_time_of_a_name_loads_no_parser_of_dates():
    code = """
import sys
from vmkeep.repository.points import parse_key
assert parse_key("points/vm/20261128T113309Z-ab").taken_at.year == 2026
assert "_strptime" not in sys.modules
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
