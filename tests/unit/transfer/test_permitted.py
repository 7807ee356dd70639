"""A disk that is opened by SAN or HotAdd leaves its NFC session to others, and keeps its other permits."""

from __future__ import annotations

import pytest

from vmkeep.model.limits import Limit
from vmkeep.repository import create_repository
from vmkeep.transfer.permitted import permitted

NFC = Limit(key="nfc/x", name="NFC sessions of host esx1", most=1, of_nfc=True)
STREAMS = Limit(key="transfers", name="transfers of the repository", most=1)


@pytest.mark.parametrize(("transport", "sessions"), [("nbdssl", 1), ("nbd", 1), ("hotadd", 0), ("san", 0)])
def test_only_a_network_mode_keeps_an_nfc_session(tmp_path, transport, sessions):
    repository = create_repository(str(tmp_path / "repository"))
    with (
        repository.run("r").open_lease("disk-1"),
        permitted(repository, [NFC, STREAMS], run="r", lease="disk-1", what="copy of web01") as settle,
    ):
        settle(transport)
        assert len(repository.permits(NFC).usage().holders) == sessions
        assert repository.permits(STREAMS).usage().holders == ("copy of web01",)
    assert repository.permits(STREAMS).usage().holders == ()
