"""The addresses that VMs had last, from the origins of their restore points."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.catalog import PointOrigin
from vmkeep.flows.last_seen import asks_for_addresses, sightings
from vmkeep.model.wording import age
from vmkeep.selection import parse_selector
from vmkeep.vsphere.guests import seen_last

START = datetime(2026, 1, 1, tzinfo=UTC)


def origin(hour, *addresses, moref="vm-1", key="uuid-1", vcenter="here"):
    return PointOrigin(
        ref=f"{key}/{hour}", taken_at=START + timedelta(hours=hour), vm_key=key, vcenter=vcenter, moref=moref,
        addresses=addresses, dns_name=None,
    )  # fmt: skip


def addresses(origins, *vms):
    return {moref: seen.addresses for moref, seen in seen_last(sightings(origins, "here"), vms).items()}


def test_the_newest_point_that_tells_an_address_counts():
    origins = [origin(1, "10.0.0.1"), origin(2, "10.0.0.2"), origin(3)]

    assert addresses(origins, ("vm-1", "uuid-1")) == {"vm-1": ("10.0.0.2",)}


def test_a_vm_that_was_registered_anew_is_known_by_its_instance_uuid():
    assert addresses([origin(1, "10.0.0.1")], ("vm-7", "uuid-1")) == {"vm-7": ("10.0.0.1",)}


def test_a_copy_does_not_take_over_the_address_of_its_original():
    assert addresses([origin(1, "10.0.0.1")], ("vm-1", "uuid-1"), ("vm-7", "uuid-1")) == {"vm-1": ("10.0.0.1",)}


def test_of_two_copies_without_their_original_nobody_knows_which_one_had_the_address():
    assert addresses([origin(1, "10.0.0.1")], ("vm-7", "uuid-1"), ("vm-8", "uuid-1")) == {}


def test_an_id_of_another_vcenter_means_nothing():
    origins = [origin(1, "10.0.0.1", vcenter="there", key="uuid-9")]

    assert addresses(origins, ("vm-1", "uuid-1")) == {}


@pytest.mark.parametrize(
    ("text", "asks"), [("ipaddr:10.0.0.1", True), ("name:a or not (ipaddr:x)", True), ("name:ipaddr", False)]
)
def test_points_are_read_only_for_a_selector_that_asks_for_an_address(text, asks):
    assert asks_for_addresses(parse_selector(text)) is asks


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 min"), (59, "0 min"), (7199, "119 min"), (7200, "2 h"), (172799, "47 h"), (172800, "2 d"), (1e7, "115 d")],
)
def test_an_age_is_said_in_whole_minutes_hours_or_days(seconds, said):
    assert age(seconds) == said
