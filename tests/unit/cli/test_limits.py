"""``vmkeep limit list`` shows who uses a limit, and who waits."""

from __future__ import annotations

import contextlib
import json
from unittest.mock import ANY

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import LimitReachedError
from vmkeep.model.limits import Holder, Limit, parse_limits
from vmkeep.repository import create_repository


def test_who_uses_a_limit_and_who_waits_is_shown(tmp_path):
    location = str(tmp_path / "repository")
    permits = create_repository(location).permits(Limit(key="nfc/x", name="NFC sessions of host esx1", most=1))
    permits.take(Holder(owner="a", run="a", what="backup of web01"))
    with pytest.raises(LimitReachedError, match=r"it has waited since \d\d:\d\d UTC; 'nfc' in the limits sets"):
        permits.take(Holder(owner="b", run="b", what="backup of web02"))

    shown = CliRunner().invoke(cli, ["limit", "list", "-r", location], catch_exceptions=False).output
    assert "NFC sessions of host esx1" in shown
    assert "backup of web01" in shown
    assert "backup of web02 (0 min)" in shown
    assert " nfc " in shown

    document = json.loads(CliRunner().invoke(cli, ["limit", "list", "-r", location, "--json"]).output)
    assert document == [
        {
            "limit": {"key": "nfc/x", "name": "NFC sessions of host esx1", "most": 1, "of_nfc": False},
            "holders": ["backup of web01"],
            "waiting": ["backup of web02"],
            "runs": ["a"],
            "since": [ANY],
        }
    ]


@pytest.mark.parametrize("most", [1, 5])
def test_a_limit_that_was_changed_has_its_new_number_as_soon_as_somebody_asks_with_it(tmp_path, most):
    repository = create_repository(str(tmp_path / "repository"))

    def ask(owner, number):
        limit = Limit(key="datastore/x/ds-1", name="snapshots on datastore ds1", most=number)
        repository.permits(limit).take(Holder(owner=owner, run=owner, what=f"backup of {owner}"))

    ask("a", 3)
    ask("b", 3)
    with contextlib.suppress(LimitReachedError):
        ask("c", most)

    (usage,) = repository.usages()
    assert (usage.limit.most, usage.limit.setting) == (most, "snapshots")


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("nfc/host", "nfc"),
        ("snapshots/nfc/host", "nfc"),
        ("datastore/vcenter/datastore-1", "snapshots"),
        ("transfers", "transfers"),
        ("snapshots/transfers", "transfers"),
    ],
)
def test_each_limit_names_the_word_that_sets_it(key, setting):
    assert Limit(key=key, name="n", most=1).setting == setting
    assert parse_limits(f"{setting}=3") != parse_limits("")
