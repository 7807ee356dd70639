"""The boot test: a restore point starts in QEMU on a throw-away overlay, and is judged by what it shows.

A log-in prompt or a text that somebody waits for is proof that the system is up, and so is a picture that stands still.
A sentence such as *Kernel panic* is proof that it does not start. All else is undecided, because nobody has seen that
the system is up: a screen of text that stands still, a boot loader that waits for a person, a blue screen, a blank one,
and a guest that is slower than the test waits. The picture of the screen is kept in any case.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any, Final

from vmkeep.errors import DeadlineError, GuestNotUpError, TransferError, UndecidedError, VerificationError
from vmkeep.flows.booting import Accelerator, BootedMachine, BootedPoint, BootRequest, boot_point, parse_awaited, watch
from vmkeep.flows.check_values import Checked
from vmkeep.flows.serving import Tell
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import PICTURE, ProofKind, ProofResult
from vmkeep.qemu import Look, Screen, Seen, Sign
from vmkeep.repository import Repository

_SCREEN: Final = "screen"
_PICTURE_SIZE: Final = 4 << 20
"""Largest picture in bytes; a larger one is kept with fewer pixels."""
_TEXT_KEPT: Final = 4000
"""Characters of the last text of a screen or serial port that are kept."""
_SETTLE_SECONDS: Final = 1.5
"""Time after a sign until the last look: what looks like a log-in prompt may be a line of more output."""
_MOST_TOLD: Final = 100
"""Most lines about damaged blocks that are kept."""
_LAST_LINES: Final = 3
"""Lines at the end of a serial port's output that tell for what it waits."""
_LOADER: Final = re.compile(
    r"^(boot: ?|grub> ?|.*GNU GRUB +version.*|.*Windows Boot Manager.*|.*Press any key to boot.*)$", re.MULTILINE
)
"""Lines of boot loaders that wait for a person."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTest:
    """The conditions of a boot test."""

    seconds: float = 600
    """The longest wait for a sign that the system is up."""
    wait_for: tuple[str, ...] = (Sign.LOGIN, Sign.SCREEN)
    """The signs: ``login``, ``screen``, or a text. The first one counts."""
    accelerator: Accelerator = Accelerator.AUTO
    memory_mib: int | None = None
    """``None``: as the machine had, if this machine has it."""
    cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The judgement on a machine."""

    result: ProofResult
    text: str
    details: dict[str, Any] = field(default_factory=dict)


def check_boot(
    repository: Repository,
    ref: str,
    test: BootTest,
    *,
    tell: Tell,
    check: Callable[[], None] = lambda: None,
    on_wait: Callable[[float], None] = lambda _left: None,
) -> Checked:
    """Boot a point, judge it by what it shows, and end the machine.

    :param tell: takes lines about the disks, e.g. of a damaged block that the guest has asked for.
    :param check: called while the test waits. An error that it raises ends the test.
    :param on_wait: gets the seconds that are left, now and then.
    :raises NotFoundError: there is no such point.
    :raises UnsupportedError: QEMU or the firmware is not installed, or the machine does not fit.
    :raises TransferError: QEMU did not start.
    """

    def waiting(left: float) -> None:
        check()
        on_wait(left)

    request = BootRequest(point=ref, accelerator=test.accelerator, memory_mib=test.memory_mib, cpus=test.cpus)
    faults: list[str] = []

    def heard(line: str, warning: bool) -> None:
        if warning:
            faults.append(line)
        tell(line, warning)

    with boot_point(repository, request, tell=heard) as booted:
        began = time.monotonic()
        try:
            signs = tuple(map(parse_awaited, test.wait_for))
            seen = watch(booted.machine, signs, seconds=test.seconds, on_wait=waiting)
        except GuestNotUpError as error:
            shown, screen = _shown(booted), _screen(booted)
            judged = judge_failure(error, shown)
        else:
            judged, shown, screen = _settled(booted, seen)
        seconds = time.monotonic() - began
        described = booted.described
    damage = _damage(faults, described)
    judged = _with_damage(judged, damage)
    files = {} if screen is None else {PICTURE: _picture(screen)}
    details = {
        "seconds": round(seconds, 1),
        **judged.details,
        "accelerator": described.accelerator,
        "memory_mib": described.memory_mib,
        "cpus": described.cpus,
        "firmware": described.firmware,
        "disks": list(described.disks),
        "notes": list(described.notes),
        "warnings": [*described.warnings, *damage[:_MOST_TOLD]],
        "shown": shown,
    }
    return Checked(kind=ProofKind.BOOT, result=judged.result, text=judged.text, details=details, files=files)


def require_proof(booted: BootedMachine, seen: Seen, faults: Sequence[str]) -> None:
    """Judge a machine that has shown a sign as :func:`check_boot` does.

    :param faults: the warnings that :func:`~vmkeep.flows.booting.boot_point` has told.
    :raises UndecidedError: the sign is no proof that the system is up.
    :raises VerificationError: a block of the point could not be read.
    """
    judged = _settled(booted, seen)[0]
    judged = _with_damage(judged, _damage(faults, booted.described))
    if judged.result is ProofResult.FAILED:
        raise VerificationError(f"boot failed: {judged.text}")
    if judged.result is ProofResult.UNDECIDED:
        raise UndecidedError(f"boot undecided: {judged.text}")


def _damage(faults: Sequence[str], described: BootedPoint) -> list[str]:
    """Return the warnings about blocks that cannot be read: those that came when the machine ran."""
    return [line for line in dict.fromkeys(faults) if line not in described.warnings]


def _with_damage(judged: Judged, damage: Sequence[str]) -> Judged:
    """Return the judgement on a machine, which fails by any damage, whatever the guest makes of it."""
    if not damage:
        return judged
    return Judged(result=ProofResult.FAILED, text=f"{damage[0]}; {judged.text}", details=judged.details)


def _settled(booted: BootedMachine, seen: Seen) -> tuple[Judged, dict[str, str], Screen | None]:
    """Look once more at a machine that has shown a sign; return the judgement, its texts and its screen."""
    time.sleep(_SETTLE_SECONDS)
    shown, screen = _shown(booted), _screen(booted)
    return judge(seen, screen.look if screen else Look.BLANK, shown), shown, screen


def judge(seen: Seen, look: Look, shown: dict[str, str]) -> Judged:
    """Judge a machine that has shown a sign. A screen that stands still may be that of a system that does not start."""
    sign, after = seen.awaited.sign, f"after {seen.seconds:.0f} s"
    details = {"sign": str(seen.awaited), "where": seen.where, "look": look}
    if sign is Sign.LOGIN and (loader := _loader(shown)):
        return Judged(result=ProofResult.UNDECIDED, text=f"{loader}, {after}", details=details)
    if sign is not Sign.SCREEN:
        return Judged(result=ProofResult.PASSED, text=f"{seen.awaited} on the {seen.where} {after}", details=details)
    if look is Look.PICTURE:
        text = f"a picture that stands still, and that is no error screen, {after}"
        return Judged(result=ProofResult.PASSED, text=text, details=details)
    return Judged(result=ProofResult.UNDECIDED, text=f"{_unclear(look, shown)}, {after}", details=details)


def judge_failure(error: GuestNotUpError, shown: dict[str, str]) -> Judged:
    """Judge a machine that has shown no sign. Only its own word is proof that its system does not start."""
    if error.certain:
        return Judged(result=ProofResult.FAILED, text=str(error))
    loader = _loader(shown)
    return Judged(result=ProofResult.UNDECIDED, text=f"{error}; {loader}" if loader else str(error))


def _unclear(look: Look, shown: dict[str, str]) -> str:
    """Return why a screen that stands still proves nothing."""
    if loader := _loader(shown):
        return loader
    last = _last_line(shown.get(_SCREEN, ""))
    return {
        Look.TEXT: f"the screen shows text that stands still, and no log-in prompt: '{last}'",
        Look.CONSOLE: "the screen is almost black and stands still, as that of a console: look at the picture",
        Look.BLUE: "the screen is mostly blue and stands still, as when Windows has stopped: look at the picture",
    }.get(look, "the screen is blank")


def _loader(shown: dict[str, str]) -> str:
    """Return that a boot loader waits for a person, if one does."""
    for place, text in shown.items():
        lines = [line for line in text.splitlines() if line.strip()]
        last = lines if place == _SCREEN else lines[-_LAST_LINES:]
        if (found := _LOADER.search("\n".join(last))) is not None:
            return f"a boot loader waits for a person: '{found[0].strip()}' on the {place}"
    return ""


def _last_line(text: str) -> str:
    return next(reversed([line.strip() for line in text.splitlines() if line.strip()]), "")[:200]


def _shown(booted: BootedMachine) -> dict[str, str]:
    """Return the last text on the serial port and on the screen, as far as they have some."""
    return {place: text[-_TEXT_KEPT:] for place, text in _texts(booted) if text.strip()}


def _texts(booted: BootedMachine) -> Iterator[tuple[str, str]]:
    yield "serial port", booted.machine.console.text()
    try:
        if booted.machine.screen().of_text:
            yield _SCREEN, booted.machine.screen_text()
    except (TransferError, DeadlineError) as error:
        log.debug("no text of the screen: %s", error)  # the machine has ended


def _screen(booted: BootedMachine) -> Screen | None:
    try:
        return booted.machine.screen()
    except (TransferError, DeadlineError) as error:
        log.warning("there is no picture of the screen, because the machine has ended: %s", error)
        return None


def _picture(screen: Screen) -> bytes:
    """Return the picture as PNG, with fewer pixels if it would be too large to keep."""
    while len(picture := screen.png()) > _PICTURE_SIZE:
        screen = screen.halved()
    return picture
