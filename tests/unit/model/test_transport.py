"""Transport modes: one list of names, one default, and a clear error before any VM is touched."""

from __future__ import annotations

import pytest

from vmkeep.cli.cmd_backup import backup
from vmkeep.errors import UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.restore_request import make_request
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, modes_without_snapshot, parse_modes


def test_the_modes_of_a_text_keep_their_order():
    assert parse_modes("hotadd:nbdssl") == (TransportMode.HOTADD, TransportMode.NBDSSL)
    assert parse_modes(":".join(TransportMode)) == tuple(TransportMode)


@pytest.mark.parametrize("text", ["", "carrier", "nbd:", ":", "nbd:NBDSSL", "nbd nbdssl"])
def test_a_text_with_anything_else_is_refused_with_the_names_that_there_are(text):
    with pytest.raises(UsageError, match="choose from san, hotadd, nbdssl, nbd"):
        parse_modes(text)


def test_a_request_without_a_mode_is_refused():
    with pytest.raises(UsageError, match="no transport mode"):
        BackupRequest(vm_selector="web01", run="r", transports=())
    with pytest.raises(UsageError, match="no transport mode"):
        make_request(point="p", run="r", transports=())


def test_a_vm_without_a_snapshot_is_written_only_by_modes_that_need_none():
    assert modes_without_snapshot(tuple(TransportMode)) == (TransportMode.NBDSSL, TransportMode.NBD)
    with pytest.raises(UsageError, match="san:hotadd:nbdssl"):
        modes_without_snapshot((TransportMode.SAN, TransportMode.HOTADD))


def test_requests_and_the_command_line_have_one_default():
    option = next(it for it in backup.get_command(None, "run").params if it.name == "transports")

    assert parse_modes(option.default) == DEFAULT_MODES
    assert BackupRequest(vm_selector="web01", run="r").transports == DEFAULT_MODES
    assert make_request(point="p", run="r").transports == DEFAULT_MODES


def test_a_request_survives_json():
    request = BackupRequest(vm_selector="web01", run="r", transports=parse_modes("san:nbd"))

    assert from_plain(BackupRequest, to_plain(request)) == request
