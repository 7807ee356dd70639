"""A boot test passes by what shows a system that is up, and never by silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import GuestNotUpError
from vmkeep.flows.boot_checks import judge, judge_failure
from vmkeep.model.proofs import ProofResult
from vmkeep.qemu import Look, Seen, parse_awaited
from vmkeep.qemu.screens import Screen


def seen(sign: str, where: str = "screen") -> Seen:
    return Seen(awaited=parse_awaited(sign), where=where, seconds=12.4)


def screen(*colours: tuple[int, int, int], width: int = 640, height: int = 480) -> Screen:
    """Return a screen of stripes of equal height."""
    rows = height // len(colours)
    return Screen(
        width=width,
        height=rows * len(colours),
        pixels=b"".join(bytes(colour) * width * rows for colour in colours),
    )


def test_a_log_in_prompt_passes():
    judged = judge(seen("login", "serial port"), Look.TEXT, {"serial port": "Debian 12\nweb01 login: "})

    assert judged.result is ProofResult.PASSED
    assert judged.text == "a log-in prompt on the serial port after 12 s"


def test_a_picture_that_stands_still_passes():
    assert judge(seen("screen"), Look.PICTURE, {}).result is ProofResult.PASSED


@pytest.mark.parametrize("look", [Look.BLANK, Look.TEXT, Look.CONSOLE, Look.BLUE])
def test_a_screen_that_stands_still_and_shows_no_system_is_undecided(look):
    judged = judge(seen("screen"), look, {"screen": "Waiting for root device /dev/sda1..."})

    assert judged.result is ProofResult.UNDECIDED
    assert ("Waiting for root device" in judged.text) is (look is Look.TEXT)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("serial port", "SYSLINUX 6.04\nboot: "),
        ("screen", "bootmini login:\nboot:"),
        ("screen", "GNU GRUB  version 2.06\n\n *Debian GNU/Linux\n  Advanced options\n  Press enter to boot"),
        ("screen", "Minimal BASH-like line editing is supported.\ngrub>"),
        ("screen", "Windows Boot Manager\nChoose an operating system to start"),
    ],
)
@pytest.mark.parametrize("sign", ["login", "screen"])
def test_a_boot_loader_that_waits_for_a_person_is_undecided_although_it_may_look_like_a_log_in(place, text, sign):
    judged = judge(seen(sign), Look.TEXT, {place: text})

    assert judged.result is ProofResult.UNDECIDED
    assert judged.text.startswith("a boot loader waits for a person: '")
    assert f"' on the {place}" in judged.text


def test_the_prompt_of_a_boot_loader_that_went_on_long_ago_spoils_no_log_in():
    booted = "boot: \nLoading vmlinuz... ok\n[    1.0] Linux\n[    9.0] systemd\nweb01 login: "

    assert judge(seen("login", "serial port"), Look.TEXT, {"serial port": booted}).result is ProofResult.PASSED


def test_a_text_that_somebody_waits_for_passes_even_if_it_is_that_of_a_boot_loader():
    assert judge(seen("boot:", "serial port"), Look.TEXT, {"serial port": "boot: "}).result is ProofResult.PASSED


def test_a_guest_that_says_it_does_not_start_fails_and_one_that_is_slow_is_undecided():
    panic = judge_failure(GuestNotUpError("its screen says 'Kernel panic'", certain=True), {})
    slow = judge_failure(GuestNotUpError("gave up after 600 s"), {"serial port": "boot: "})

    assert (panic.result, panic.text) == (ProofResult.FAILED, "its screen says 'Kernel panic'")
    assert slow.result is ProofResult.UNDECIDED
    assert slow.text == "gave up after 600 s; a boot loader waits for a person: 'boot:' on the serial port"


@pytest.mark.parametrize(
    ("colours", "look"),
    [
        ([(0, 0, 0)], Look.BLANK),
        ([(0, 0, 0)] * 12 + [(170, 170, 170)], Look.CONSOLE),
        ([(0, 120, 215)] * 9 + [(255, 255, 255)], Look.BLUE),  # Windows 10
        ([(0, 0, 170)] * 9 + [(255, 255, 255)], Look.BLUE),  # Windows 7 and older
        ([(16, 112, 170)] * 9 + [(255, 255, 255)], Look.BLUE),  # Windows 8
        ([(70, 90, 80), (200, 180, 160), (20, 20, 20)], Look.PICTURE),
    ],
)
def test_the_look_of_a_screen_is_told_by_its_colours(colours, look):
    assert screen(*colours).look is look


def test_a_screen_in_text_mode_looks_like_text():
    assert screen((0, 0, 0), (170, 170, 170), width=720, height=400).look is Look.TEXT


def test_a_halved_screen_has_every_second_pixel():
    halved = screen((1, 2, 3), (4, 5, 6), width=5, height=6).halved()

    assert (halved.width, halved.height) == (3, 3)
    assert halved.pixels == bytes((1, 2, 3)) * 6 + bytes((4, 5, 6)) * 3


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(list(Look)))
def test_no_text_of_a_guest_makes_a_screen_that_stands_still_pass_unless_it_is_a_picture(serial, shown, look):
    judged = judge(seen("screen"), look, {"serial port": serial, "screen": shown})

    assert (judged.result is ProofResult.PASSED) is (look is Look.PICTURE)
