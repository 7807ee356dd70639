"""Sizes and offsets as the published headers have them, compiled by gcc on x86-64."""

import ctypes

import pytest

from vmkeep.vddk.buffers import Buffer, address_of
from vmkeep.vddk.structures import ConnectParams, Info


def test_connect_params_are_128_bytes():
    assert ctypes.sizeof(ConnectParams) == 128


@pytest.mark.parametrize(
    ("field", "offset"),
    [("vmxSpec", 0), ("serverName", 8), ("thumbPrint", 16), ("privateUse", 24), ("credType", 32), ("creds", 40),
     ("port", 64), ("nfcHostPort", 68), ("vimApiVer", 72), ("reserved", 80), ("state", 88), ("spec", 96),
     ("specType", 120)],
)  # fmt: skip
def test_connect_params_offsets(field, offset):
    assert getattr(ConnectParams, field).offset == offset


def test_info_reads_only_what_the_oldest_library_fills():
    assert ctypes.sizeof(Info) == 56
    assert (Info.capacity.offset, Info.adapterType.offset, Info.parentFileNameHint.offset, Info.uuid.offset) == (
        24, 32, 40, 48,
    )  # fmt: skip


@pytest.mark.parametrize("data", [b"read-only memory", bytearray(b"writable memory")])
def test_the_address_of_any_memory_is_where_its_bytes_are(data):
    view = memoryview(data)[3:]
    assert ctypes.string_at(address_of(view), len(view)) == bytes(view)


def test_buffers_begin_on_a_page():
    assert Buffer(4096).address % 4096 == 0
