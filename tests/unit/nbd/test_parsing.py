"""Whatever a client sends is taken apart or refused, and nothing else happens."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import UsageError
from vmkeep.nbd.keys import load_keys
from vmkeep.nbd.options import BadOptionError, LongTextError, parse_context_question, parse_export_question
from vmkeep.nbd.requests import NotARequestError, RefusedError, parse_request, require_allowed
from vmkeep.nbd.wire import MAX_REQUEST, REQUEST, REQUEST_MAGIC, Abilities, Command

U32 = st.integers(0, (1 << 32) - 1)
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


def text(value: str) -> bytes:
    return struct.pack(">I", len(value.encode())) + value.encode()


@given(st.binary(max_size=64))
def test_any_bytes_of_an_option_are_taken_apart_or_refused(data):
    for parse in (parse_export_question, parse_context_question):
        try:
            parse(data)
        except BadOptionError:
            pass


@given(TEXTS, st.lists(st.integers(0, 9), max_size=5), st.lists(TEXTS, max_size=5))
def test_what_a_client_asks_for_is_read_back(name, infos, queries):
    asked = parse_export_question(text(name) + struct.pack(f">H{len(infos)}H", len(infos), *infos))
    assert (asked.name, asked.infos) == (name, frozenset(infos))
    listed = b"".join(map(text, queries))
    found = parse_context_question(text(name) + struct.pack(">I", len(queries)) + listed)
    assert (found.name, found.queries) == (name, tuple(queries))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (text("a" * 4097) + bytes(2), LongTextError),
        (struct.pack(">I", 0xFFFFFFFF), BadOptionError),
        (text("a") + bytes(3), BadOptionError),
        (struct.pack(">I", 2) + b"\xff\xff" + bytes(2), BadOptionError),
        (text("a\0b") + bytes(2), BadOptionError),
    ],
)
def test_false_lengths_and_texts_are_refused(data, error):
    with pytest.raises(error):
        parse_export_question(data)


def test_a_false_number_of_queries_costs_nothing():
    with pytest.raises(BadOptionError, match="cut off"):
        parse_context_question(text("") + struct.pack(">I", 0xFFFFFFFF))


@given(st.binary(min_size=28, max_size=28))
def test_bytes_without_the_magic_number_are_no_request(data):
    if data[:4] != struct.pack(">I", REQUEST_MAGIC):
        with pytest.raises(NotARequestError):
            parse_request(data)


@given(
    st.integers(0, 0xFFFF), st.integers(0, 20), st.integers(0, (1 << 64) - 1), U32, st.integers(0, 1 << 63),
    st.integers(0, (1 << 11) - 1), st.booleans(),
)  # fmt: skip
def test_a_request_that_is_allowed_is_inside_the_disk_and_within_every_limit(
    flags, command, offset, length, capacity, able, allocation
):
    request = parse_request(REQUEST.pack(REQUEST_MAGIC, flags, command, 1, offset, length))
    try:
        require_allowed(request, able=Abilities(able), capacity=capacity, allocation=allocation)
    except RefusedError:
        return
    known = Command(request.command)
    if known is not Command.FLUSH:
        assert request.length > 0
        assert request.stop <= capacity
    assert known not in (Command.READ, Command.WRITE) or request.length <= MAX_REQUEST
    assert not (able & Abilities.READ_ONLY and known in (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES))


def test_a_file_of_psktool_is_read(tmp_path):
    path = tmp_path / "keys.psk"
    path.write_bytes(b"# made by psktool\nalice:" + b"ab" * 32 + b"\r\n\nbob:" + b"CD" * 16 + b"\n")
    path.chmod(0o600)
    assert load_keys(path) == {b"alice": b"\xab" * 32, b"bob": b"\xcd" * 16}


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"alice:" + b"ab" * 32, 0o640, "chmod 600"),
        (b"alice:" + b"ab" * 8, 0o600, "line 1: a key has 16 to 64 bytes"),
        (b"\nalice:xyz", 0o600, "line 2: the key is not in hexadecimal"),
        (b"abababab", 0o600, "is not 'user:hexkey'"),
        (b":" + b"ab" * 32, 0o600, "is not 'user:hexkey'"),
        (b"", 0o600, "holds no key"),
        (b"a" * ((1 << 20) + 1), 0o600, "is longer than"),
    ],
)
def test_a_bad_key_file_is_refused_and_its_keys_are_not_shown(tmp_path, content, mode, words):
    path = tmp_path / "keys.psk"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UsageError, match=words) as caught:
        load_keys(path)
    assert "abab" not in str(caught.value)
    assert "xyz" not in str(caught.value)
