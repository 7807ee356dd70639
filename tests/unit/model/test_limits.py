"""The limits that an administrator sets in one line."""

from __future__ import annotations

import pytest

from vmkeep.errors import UsageError
from vmkeep.model.limits import Limits, parse_limits


@pytest.mark.parametrize(
    ("version", "most"),
    [("4.1", 8), ("5.5.0", 8), ("6.7.0", 12), ("7.0.3", 12), ("8.0.2", 50), ("10.1", 50), (None, 8), ("x", 8)],
)
def test_a_host_gets_no_more_nfc_sessions_than_the_buffers_of_its_version_serve(version, most):
    assert Limits(nfc=50).nfc_of(version) == most
    assert Limits().nfc_of(version) == 8
    assert Limits(nfc=3).nfc_of(version) == 3


def test_each_limit_is_set_by_its_name_and_the_others_stay_as_they_are():
    assert parse_limits(None) == parse_limits("") == Limits()
    assert parse_limits("nfc=4, snapshots=2,free=10% , transfers=16") == Limits(
        nfc=4, snapshots=2, free="10%", transfers=16
    )
    assert parse_limits("transfers=3", Limits(nfc=2)) == Limits(nfc=2, transfers=3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nfc=51", "from 1 to 50, and not '51'"), ("nfc=0", "from 1 to 50"), ("nfc=-1", "not '-1'"),
        ("nfc=", "not ''"), ("nfc=²", "not '²'"), ("snapshots=many", "snapshots is a whole number"),
        ("free=100%", "up to 99%"), ("free=5", "or a size such as 200GiB"), ("free=1 parsec", "not '1 parsec'"),
        ("nfc", "'nfc' is none"), ("hosts=3", "'hosts=3' is none"), ("nfc=1,nfc=2", "given twice"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_is_refused_with_its_right_form(text, told):
    with pytest.raises(UsageError, match=told):
        parse_limits(text)


@pytest.mark.parametrize(
    ("free", "floor"), [("5%", 50), ("0%", 0), ("12.5%", 125), ("1GiB", 1 << 30), ("2 TiB", 2 << 40)]
)
def test_the_space_that_stays_free_is_a_share_or_a_size(free, floor):
    assert Limits(free=free).floor_of(1000) == floor
