import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep import errors
from vmkeep.errors import CancelledError, DeadlineError, Recovery, TransferError, VddkError, VmKeepError
from vmkeep.model.site import Site, VCenter
from vmkeep.transfer.protocol import Channel, ChildRequest, Lines, describe_error, parse_site, plain_site, rebuild_error
from vmkeep.transfer.stop_reasons import Stop

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VmKeepError)]


def over_the_wire(error):
    return rebuild_error(json.loads(json.dumps(describe_error(error))))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_arrives_as_the_class_it_was(kind):
    error = kind.__new__(kind, "what happened")
    Exception.__init__(error, "what happened")
    back = over_the_wire(error)
    assert type(back) is kind
    assert str(back) == "what happened"
    assert (back.recovery, back.exit_code) == (kind.recovery, kind.exit_code)


def test_fields_of_an_error_survive():
    back = over_the_wire(VddkError("busy", code=5, recovery=Recovery.RETRY))
    assert isinstance(back, VddkError)
    assert (back.code, back.recovery) == (5, Recovery.RETRY)
    waited = over_the_wire(DeadlineError(waiting_for="a disk", seconds=3))
    assert isinstance(waited, DeadlineError)
    assert (str(waited), waited.waiting_for) == ("gave up after 3 s waiting for a disk", "a disk")


def test_an_unexpected_error_is_a_lost_attempt_that_names_it():
    back = over_the_wire(MemoryError())
    assert isinstance(back, TransferError)
    assert str(back) == "MemoryError"
    assert back.recovery is Recovery.RETRY


def test_a_site_survives_with_its_password_and_shows_it_to_nobody():
    site = Site(repository="/r", vddk="/v", vcenter=VCenter(host="h", user="u", password="s3cret"))
    request = ChildRequest(verb="copy", site=plain_site(site))
    assert parse_site(ChildRequest.decode(request.encode()).site) == site
    assert "s3cret" not in repr(site)


@pytest.mark.parametrize("line", [b"", b"\n", b"[]\n", b'{"verb": 1, "what": 2}\n', b"\xff\n"])
def test_a_bad_request_is_refused(line):
    with pytest.raises(TransferError, match="not a transfer request"):
        ChildRequest.decode(line)


@given(st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b and b), max_size=10), st.data())
def test_lines_are_the_same_however_the_stream_is_cut(lines, data):
    stream = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found = []
    cutter = Lines(found.append)
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if stop > start:
            cutter.feed(stream[start:stop])
    cutter.feed(b"")
    assert found == lines


def test_a_channel_nobody_reads_is_silent():
    reading, writing = os.pipe()
    os.close(reading)
    channel = Channel(writing)
    channel.send({"event": "alive"})
    channel.send({"event": "alive"})
    os.close(writing)


def test_the_first_reason_to_stop_is_kept():
    stop = Stop()
    stop.check()
    stop.request("SIGTERM")
    stop.request("its caller has gone")
    with pytest.raises(CancelledError, match="the transfer was stopped: SIGTERM"):
        stop.check()
