"""``vmkeep point boot``: a restore point as a running machine, without a restore and without vSphere."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import one_line, print_json, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.streams import data_output, require_output
from vmkeep.errors import GuestNotUpError, TransferError, UndecidedError, UsageError, VerificationError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.booting import Awaited, BootedMachine, BootedPoint, Seen

_TIMEOUT = 600
_PAUSE = 0.3


@command(
    "boot",
    examples={
        "Look at a point on the VNC display 127.0.0.1:5901": "vmkeep point boot latest:web01 --display vnc:1",
        "Use its serial port here": "vmkeep point boot latest:web01 --serial",
        "Prove that it starts, and keep a picture": "vmkeep point boot latest:web01 --wait-for login "
        "--wait-for screen --timeout 300 --screenshot web01.png",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option(
    "--disk", "disks", section=Section.WHAT, type=int, multiple=True, metavar="N",
    help="Only this disk of the point, counted from 0; may be given several times.",
)  # fmt: skip
@option(
    "--wait-for", "awaited", section=Section.WHAT, multiple=True, metavar="SIGN",
    help="End when the machine shows this: login (a log-in prompt), screen (a screen that stands still), or a text on "
    "its serial port or its text screen. May be given several times; the first sign counts.",
)  # fmt: skip
@option(
    "--timeout", "waits", section=Section.WHAT, type=click.FloatRange(min=1), metavar="SECONDS",
    help=f"Longest wait for --wait-for, by default {_TIMEOUT}. The exit code is 38 if nothing was seen, and "
    "93 if the sign proves nothing, because e.g. a boot loader waits for a person.",
)  # fmt: skip
@option(
    "--screenshot", section=Section.WHAT, type=click.Path(path_type=Path), metavar="FILE.png",
    help="Write a picture of the screen: at the sign that was waited for, after --after, or else at Ctrl-C.",
)  # fmt: skip
@option(
    "--after", section=Section.WHAT, type=click.FloatRange(min=0), metavar="SECONDS",
    help="Take the picture so long after the start, and end.",
)  # fmt: skip
@option("--keep", section=Section.WHAT, is_flag=True, help="Let the machine run on after the sign or the picture.")
@option(
    "--display", section=Section.HOW, default="none", show_default=True, metavar="WAY",
    help="Show the screen: none, gtk, or vnc:N on the port 5900 + N of 127.0.0.1.",
)  # fmt: skip
@option("--serial", section=Section.HOW, is_flag=True, help="Print what the machine writes to its serial port.")
@option("--memory", section=Section.HOW, type=int, metavar="MIB", help="Memory, instead of the saved machine's.")
@option("--cpus", section=Section.HOW, type=int, metavar="N", help="CPUs, instead of the saved machine's.")
@option(
    "--firmware", section=Section.HOW, type=click.Choice(["bios", "efi"]), help="Instead of the saved machine's.",
)  # fmt: skip
@option(
    "--controller", section=Section.HOW, type=click.Choice(["pvscsi", "lsi-sas", "sata", "nvme", "ide", "virtio"]),
    help="Controller of all disks, if the guest does not find them at the saved ones.",
)  # fmt: skip
@option(
    "--network", section=Section.HOW, type=click.Choice(["none", "user"]), default="none", show_default=True,
    help="user: the guest reaches what this machine reaches, and nobody reaches the guest.",
)  # fmt: skip
@option(
    "--accelerator", section=Section.HOW, type=click.Choice(["auto", "kvm", "tcg"]), default="auto", show_default=True,
    help="auto: KVM if it works here, or else TCG, which is about ten times as slow.",
)  # fmt: skip
@repository_option
@json_option
def boot(
    ref: str,
    disks: tuple[int, ...],
    awaited: tuple[str, ...],
    waits: float | None,
    screenshot: Path | None,
    after: float | None,
    keep: bool,
    display: str,
    serial: bool,
    memory: int | None,
    cpus: int | None,
    firmware: str | None,
    controller: str | None,
    network: str,
    accelerator: str,
    repository: str | None,
    as_json: bool,
) -> None:
    """Boot a restore point in QEMU on this machine, until Ctrl-C, or until it shows that it is up.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. Nothing is
    restored: QEMU reads the point's disks where they lie. What the guest writes goes to temporary files, and is gone at
    the end.
    """
    if as_json and serial:
        raise UsageError("--serial prints no JSON: leave one of them out")
    if serial:
        require_output()
    _require_one_end(awaited, waits, after)
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        raise UsageError(f"--screenshot {screenshot}: its folder does not exist")
    from vmkeep.flows import booting  # takes time to import

    request = booting.BootRequest(
        point=ref,
        disks=disks,
        accelerator=booting.Accelerator(accelerator),
        memory_mib=memory,
        cpus=cpus,
        firmware=booting.Firmware(firmware) if firmware else None,
        controller=booting.Card(controller) if controller else None,
        network=network == "user",
        display=booting.parse_display(display),
    )
    look = _Look(
        signs=tuple(booting.parse_awaited(each) for each in awaited),
        waits=waits or _TIMEOUT,
        after=after,
        keep=keep,
        screenshot=screenshot,
        as_json=as_json,
    )
    with (
        open_given(repository) as opened,
        booting.boot_point(opened, request, tell=look.tell, on_serial=_print_serial if serial else _drop) as booted,
    ):
        look.carry_out(booted)
    click.echo("ended: nothing that the guest wrote is left", err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The way in which a person wants to look at a machine, and its end."""

    signs: tuple[Awaited, ...]
    waits: float
    after: float | None
    keep: bool
    screenshot: Path | None
    as_json: bool
    faults: list[str] = field(default_factory=list)
    """The warnings that were told so far."""

    def tell(self, line: str, warning: bool) -> None:
        """Print a warning about the point, and remember it for the judgement."""
        if warning:
            self.faults.append(line)
            warn(line)

    def carry_out(self, booted: BootedMachine) -> None:
        """Show the machine, and return when it is to end.

        :raises UndecidedError: the sign that it showed is no proof that its system is up.
        :raises VerificationError: a block of the point could not be read.
        """
        ends_by_itself = bool(self.signs) or self.after is not None
        if not self.as_json and ends_by_itself:
            _show(booted.described)
        seen, doubt = self._until_seen(booted) if ends_by_itself else (None, None)
        goes_on = self.keep or not ends_by_itself
        with suppress(KeyboardInterrupt) if goes_on else nullcontext():  # then it is the way to end, and no failure
            if self.as_json:
                print_json({**to_plain(booted.described), "seen": None if seen is None else to_plain(seen)})
            elif not ends_by_itself:
                _show(booted.described)
            if goes_on:
                _run(booted, None)
        if self.screenshot is not None and not ends_by_itself and booted.machine.alive:
            _take(booted, self.screenshot)
        if doubt is not None:
            raise doubt

    def _until_seen(self, booted: BootedMachine) -> tuple[Seen | None, VmKeepError | None]:
        """Wait for a sign, or for a time, and take the picture in any case. Return the sign, and the doubt about it."""
        from vmkeep.flows.boot_checks import require_proof  # takes time to import
        from vmkeep.flows.booting import watch

        try:
            if not self.signs:
                _run(booted, self.after)
                return None, None
            seen = watch(booted.machine, self.signs, seconds=self.waits)
            click.echo(f"{seen.awaited} on the {seen.where} after {seen.seconds:.0f} s", err=True)
            try:
                require_proof(booted, seen, self.faults)
            except (UndecidedError, VerificationError) as doubt:
                return seen, doubt
            return seen, None
        finally:
            if self.screenshot is not None:
                _take(booted, self.screenshot)


def _require_one_end(awaited: tuple[str, ...], waits: float | None, after: float | None) -> None:
    """Refuse options that say in two ways when the machine ends, or a limit of a wait for nothing."""
    if after is not None and awaited:
        raise UsageError("--after and --wait-for both say when to end: give one of them")
    if waits is not None and not awaited:
        raise UsageError("--timeout is the longest wait for a sign: give --wait-for")


def _run(booted: BootedMachine, seconds: float | None) -> None:
    """Let the machine run for a time, or until it ends by itself.

    :raises GuestNotUpError: it ended before the time was over.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while booted.machine.alive and (end is None or time.monotonic() < end):
        time.sleep(_PAUSE)
    if end is not None and not booted.machine.alive:
        raise GuestNotUpError(f"the machine ended by itself within {seconds:.0f} s")


def _take(booted: BootedMachine, file: Path) -> None:
    """Write a picture of the screen."""
    try:
        file.write_bytes(booted.machine.screen().png())
    except TransferError as error:
        warn(f"{file}: there is no picture, because the machine is gone: {error}")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error


def _show(described: BootedPoint) -> None:
    click.echo(f"{described.point} runs in QEMU (process {described.process}), end it with Ctrl-C")
    click.echo(f"  by           {described.accelerator.upper()}: {described.why}")
    click.echo(
        f"  machine      {counted(described.cpus, 'CPU')}, {size(described.memory_mib << 20)}, "
        f"{described.firmware.upper()}, {', '.join(described.disks)}"
    )
    if described.vnc_port is not None:
        click.echo(f"  screen       VNC at 127.0.0.1:{described.vnc_port}")
    for note in described.notes:
        click.echo(f"  note         {one_line(note)}")


def _print_serial(output: bytes) -> None:
    out = data_output()
    out.write(output)
    out.flush()


def _drop(_output: bytes) -> None:
    """Take the output of a serial port that nobody looks at."""
