"""Waits until a machine shows that its system is up: by a text, a log-in prompt, or a screen that stands still."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from vmkeep.clock import Deadline
from vmkeep.errors import DeadlineError, GuestNotUpError, TransferError
from vmkeep.lateclass import dataclass
from vmkeep.qemu.running import RunningMachine
from vmkeep.qemu.screens import Screen

_PAUSE_SECONDS: Final = 0.3
_STILL_SECONDS: Final = 15.0
"""Time without a change after which a screen stands still. A system that starts shows something more often."""
_STILL_PART: Final = 0.02
"""Part of the pixels that may change on a screen that stands still: a cursor blinks, a clock goes on."""
_LOGIN: Final = re.compile(r"^(?:\S{1,64} )?login: ?$", re.MULTILINE | re.IGNORECASE)
_TROUBLES: Final = (
    "No bootable device", "No bootable option or device was found",
    "Missing operating system", "Operating system not found", "An operating system wasn't found", "BOOTMGR is missing",
    "NTLDR is missing", "grub rescue>", "Kernel panic - not syncing", "You are in emergency mode",
    "Give root password for maintenance", "(initramfs)", "dracut:/#", "INACCESSIBLE_BOOT_DEVICE", "Shell> ",
    "Entering emergency mode", "RUN fsck MANUALLY", "Dropping to a shell!",
    "A problem has been detected and Windows has been shut down", "Windows failed to start", "Windows Error Recovery",
)  # fmt: skip
"""Sentences with which firmware, boot loaders and systems say that they go no further."""
_MOST_RESTARTS: Final = 5
"""Restarts by the guest from which it does not start. An update or a check of disks may take one or two."""


class Sign(StrEnum):
    """A sign that the system is up."""

    TEXT = "text"
    LOGIN = "login"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A sign that somebody waits for."""

    sign: Sign
    text: str = ""
    """The text to come, on the serial port or on a screen in text mode."""

    def __str__(self) -> str:
        """Return the sign in words."""
        return {Sign.LOGIN: "a log-in prompt", Sign.SCREEN: "a screen that stands still"}.get(
            self.sign, f"the text '{self.text}'"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The sign that was seen first."""

    awaited: Awaited
    where: str
    """``serial port`` or ``screen``."""
    seconds: float
    """Time since the wait began."""


def parse_awaited(text: str) -> Awaited:
    """Return the sign that a person named: ``login``, ``screen``, or a text."""
    if text in (Sign.LOGIN, Sign.SCREEN):
        return Awaited(sign=Sign(text))
    return Awaited(sign=Sign.TEXT, text=text)


def watch(
    machine: RunningMachine,
    awaited: Sequence[Awaited],
    *,
    seconds: float,
    on_wait: Callable[[float], None] = lambda _left: None,
) -> Seen:
    """Return the first of some signs that the machine shows.

    :param seconds: longest wait.
    :param on_wait: gets the seconds that are left, now and then.
    :raises GuestNotUpError: the machine ended, stopped, said that it cannot start, or showed none of the signs in time.
    """
    began = time.monotonic()
    deadline = Deadline(seconds, waiting_for=" or ".join(map(str, awaited)))
    screens, restarts = _Stillness(), 0
    while True:
        try:
            seen = _look(machine, awaited, screens)
            restarts += sum(event["event"] == "RESET" and _by_guest(event) for event in machine.events())
        except (TransferError, DeadlineError) as error:
            raise GuestNotUpError(f"the machine ended before it showed {' or '.join(map(str, awaited))}") from error
        if seen is not None:
            return Seen(awaited=seen[0], where=seen[1], seconds=time.monotonic() - began)
        if restarts >= _MOST_RESTARTS:
            raise GuestNotUpError(f"the guest does not start: it has restarted {restarts} times", certain=True)
        on_wait(deadline.remaining)
        try:
            deadline.pause(_PAUSE_SECONDS)
        except DeadlineError as error:
            raise GuestNotUpError(f"the guest is not up: {error}") from error


def _look(machine: RunningMachine, awaited: Sequence[Awaited], screens: _Stillness) -> tuple[Awaited, str] | None:
    """Return a sign that can be seen now, and its place."""
    _require_running(machine)
    screen = machine.screen()
    shown = machine.screen_text() if screen.of_text else ""
    places = {"serial port": machine.console.text(), "screen": shown}
    for sign in awaited:
        for place, text in places.items():
            if (sign.sign is Sign.TEXT and sign.text in text) or (sign.sign is Sign.LOGIN and _LOGIN.search(text)):
                return sign, place
    for place, text in places.items():
        if (trouble := next((each for each in _TROUBLES if each in text), None)) is not None:
            raise GuestNotUpError(f"the guest does not start: its {place} says '{trouble.strip()}'", certain=True)
    still = screens.stands(screen)
    return next(((sign, "screen") for sign in awaited if sign.sign is Sign.SCREEN and still), None)


def _by_guest(event: Mapping[str, Any]) -> bool:
    return bool(event.get("data", {}).get("guest"))


def _require_running(machine: RunningMachine) -> None:
    """Refuse a machine that makes no progress any more."""
    status = machine.status()
    if status == "internal-error":
        raise GuestNotUpError("KVM stopped at an instruction that it cannot run here: use '--accelerator tcg'")
    if status == "io-error":
        raise GuestNotUpError("the machine stopped because its overlay has no room for what the guest writes")
    if status not in ("running", "prelaunch", "inmigrate"):
        raise GuestNotUpError(f"the machine stopped: QEMU says '{status}'")


class _Stillness:
    """Tells whether a screen has stood still for long."""

    def __init__(self) -> None:
        self._first: Screen | None = None
        self._since = 0.0

    def stands(self, screen: Screen) -> bool:
        """Take the next image of the screen."""
        if self._first is None or screen.blank or screen.differing(self._first) > _STILL_PART:
            self._first, self._since = screen, time.monotonic()
        return not screen.blank and time.monotonic() - self._since >= _STILL_SECONDS
