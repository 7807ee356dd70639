"""A machine's screen as an image."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import TransferError
from vmkeep.qemu.consoles import plain
from vmkeep.qemu.screens import parse_screen, parse_text_memory

RED_AND_BLACK = b"P6\n2 2\n255\n" + bytes([255, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0])


def test_a_png_begins_and_ends_as_a_reader_expects_and_holds_each_row():
    png = parse_screen(RED_AND_BLACK).png()
    assert png.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x02\x08\x02")
    assert png.endswith(b"IEND\xaeB`\x82")


def test_one_changed_pixel_is_a_quarter_of_four():
    screen = parse_screen(RED_AND_BLACK)
    other = parse_screen(RED_AND_BLACK[:-3] + b"\0\0\0")
    assert screen.differing(other) == 0.25
    assert screen.differing(screen) == 0


def test_a_screen_of_another_size_differs_in_all():
    assert parse_screen(RED_AND_BLACK).differing(parse_screen(b"P6 1 1 255 abc")) == 1


def test_a_screen_of_one_colour_is_blank():
    assert parse_screen(b"P6\n2 1\n255\n" + bytes(6)).blank
    assert not parse_screen(RED_AND_BLACK).blank


@given(st.binary(max_size=40) | st.builds(lambda rest: b"P6\n" + rest, st.binary(max_size=40)))
def test_no_dump_does_more_harm_than_an_error(dump):
    try:
        screen = parse_screen(dump)
    except TransferError:
        return
    assert len(screen.pixels) == screen.width * screen.height * 3


def test_text_memory_is_read_in_rows():
    memory = bytearray(b" \x07" * 160)
    memory[0:10:2] = b"login"
    memory[160:170:2] = b"panic"
    assert parse_text_memory(bytes(memory)) == "login\npanic"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"\x1b[2J\x1b[01;01Hweb01 login: ", "web01 login: "),
        (b"a\r\nb\rc\x00\xff", "a\nb\nc�"),
        (b"\x1b", ""),
    ],
)
def test_a_terminal_s_control_sequences_are_no_text(output, text):
    assert plain(output) == text


def test_the_png_is_one_for_another_program(tmp_path):
    path = tmp_path / "screen.png"
    path.write_bytes(parse_screen(RED_AND_BLACK).png())
    said = subprocess.run(["file", str(path)], capture_output=True, text=True, check=True).stdout
    assert "PNG image data, 2 x 2, 8-bit/color RGB" in said
