"""A dead restore keeps nobody away for long, whatever vCenter's clock did between its claim and now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import nobody_knows, restore_is_alive
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere.claims import VmClaim

NOW = datetime(2026, 11, 27, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.mark.parametrize(("since", "alive"), [(timedelta(hours=1), True), (YEAR, False), (-YEAR, False)])
@pytest.mark.parametrize("noted", [False, True], ids=["its notes are gone", "its owner is unknown here"])
def test_a_clock_that_was_put_back_makes_no_dead_restore_alive(tmp_path, since, alive, noted):
    location = str(tmp_path / "repository")
    create_repository(location)
    with open_repository(location) as repository:
        if noted:
            repository.run("r").store("owner", b"another Airflow")
        claim = VmClaim(run="r", made=False, began=NOW - since, repository=repository.id)

        assert restore_is_alive(repository, claim, now=NOW, has_ended=nobody_knows, given_up=GIVEN_UP) == alive
