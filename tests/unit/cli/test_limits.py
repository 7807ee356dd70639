"""``vmkeep limit list`` shows who uses a limit, and who waits."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import LimitReachedError
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository import create_repository


def test_who_uses_a_limit_and_who_waits_is_shown(tmp_path):
    location = str(tmp_path / "repository")
    permits = create_repository(location).permits(Limit(key="nfc/x", name="NFC sessions of host esx1", most=1))
    permits.take(Holder(owner="a", run="a", what="backup of web01"))
    with pytest.raises(LimitReachedError):
        permits.take(Holder(owner="b", run="b", what="backup of web02"))

    shown = CliRunner().invoke(cli, ["limit", "list", "-r", location], catch_exceptions=False).output
    assert "NFC sessions of host esx1" in shown
    assert "backup of web01" in shown
    assert "backup of web02" in shown

    document = json.loads(CliRunner().invoke(cli, ["limit", "list", "-r", location, "--json"]).output)
    assert document == [
        {
            "limit": {"key": "nfc/x", "name": "NFC sessions of host esx1", "most": 1, "of_nfc": False},
            "holders": ["backup of web01"],
            "waiting": ["backup of web02"],
            "runs": ["a"],
        }
    ]
